"""The Event Hubs emulator's AMQP at the level of frames: what the official clients never do, or never show."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from azure.eventhub._client_base import _generate_sas_token

from emulators.event_hubs.broker import Broker
from emulators.event_hubs.encoding import encode
from emulators.event_hubs.hubs import HubSettings
from emulators.event_hubs.performatives import (
    ACCEPTED,
    Attach,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Source,
    Target,
    Transfer,
    encode_frame,
)
from emulators.event_hubs.sas import SharedKey
from emulators.event_hubs.values import Described, Symbol, Ulong
from tests.emulators.event_hubs_support import AMQP_HEADER, DEADLINE, PARTITION, SASL_HEADER, RawClient, transfer, until

EVENT = b"\x00\x53\x75" + encode(b"event")


class Clock:
    """Real time with an offset."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        import time

        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def broker(clock: Clock) -> AsyncIterator[Broker]:
    broker = Broker(["hub"], HubSettings(), SharedKey("policy", "secret"), now=clock, idle_seconds=240)
    yield broker
    await broker.stop()


@pytest.fixture
async def port(broker: Broker) -> int:
    return await broker.start("127.0.0.1", 0)


@pytest.fixture
async def client(port: int) -> AsyncIterator[RawClient]:
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    yield client
    client.writer.close()


# --- connecting ---


@pytest.mark.parametrize("header", [b"GET / HT", AMQP_HEADER, b"AMQP\x02\x01\x00\x00"])
async def test_another_protocol_is_answered_with_the_supported_one_and_closed(client: RawClient, header: bytes) -> None:
    client.writer.write(header)
    assert await asyncio.wait_for(client.reader.read(), DEADLINE) == SASL_HEADER


@pytest.mark.parametrize("response", [b"\0policy\0wrong", b"\0other\0secret", b"", b"\xff"])
async def test_wrong_plain_credentials_end_the_connection(client: RawClient, response: bytes) -> None:
    assert (await client.sasl("PLAIN", response)).result == 1
    assert await client.closed() is None


async def test_an_unknown_mechanism_ends_the_connection(client: RawClient) -> None:
    assert (await client.sasl("CRAM-MD5")).result == 1
    assert await client.closed() is None


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        ((70_000).to_bytes(4) + b"\x02\x00\x00\x01", "amqp:connection:framing-error"),
        ((12).to_bytes(4) + b"\x01\x00\x00\x01" + b"\x00" * 4, "amqp:connection:framing-error"),
        ((12).to_bytes(4) + b"\x02\x00\x00\x01" + b"\x00\x53\x99\x45", "amqp:decode-error"),
        ((12).to_bytes(4) + b"\x02\x05\x00\x01" + b"\x00\x53\x18\x45", "amqp:connection:framing-error"),
        ((12).to_bytes(4) + b"\x02\x00\x00\x01" + b"\x00\x53\x12\x45", "amqp:decode-error"),
    ],
)
async def test_a_broken_frame_closes_the_connection_with_the_reason(
    client: RawClient, data: bytes, condition: str
) -> None:
    await client.open()
    client.writer.write(data)
    assert await client.closed() == condition


async def test_frames_may_arrive_byte_by_byte(client: RawClient) -> None:
    await client.open()
    for byte in encode_frame(1, Attach("s", 0, False, target=Target("hub"))):
        client.writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    assert (await client.expect(Attach)).name == "s"


async def test_closing_is_answered_link_by_link(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    client.send(Detach(0, closed=True))
    assert (await client.expect(Detach)) == Detach(0, closed=True)
    client.send(End())
    await client.expect(End)
    client.send(Close(), channel=0)
    assert (await client.expect(Close)).error is None
    assert await client.closed() is None


async def test_the_end_of_the_server_is_announced(broker: Broker, client: RawClient) -> None:
    await client.open()
    await broker.stop()
    assert await client.closed() == "amqp:connection:forced"


async def test_an_idle_client_gets_empty_frames_in_time(client: RawClient) -> None:
    await client.open(idle_ms=200)
    await client.attach_receiver()
    reading = asyncio.create_task(client.frame())
    await until(lambda: client.empty_frames >= 3)
    reading.cancel()


async def test_a_silent_client_is_disconnected(port: int, broker: Broker, client: RawClient) -> None:
    await client.open()
    broker.idle_seconds = 0
    assert await client.closed() == "amqp:connection:forced"


# --- access ---


async def test_links_need_a_token_that_covers_them(client: RawClient) -> None:
    await client.open_unauthorized()
    for address in ("hub", "hub/Partitions/0", "$management"):
        assert await client.refused(Attach("s", 0, False, target=Target(address))) == "amqp:unauthorized-access"
    assert await client.refused(Attach("r", 0, True, source=Source(PARTITION))) == "amqp:unauthorized-access"
    token = _generate_sas_token("sb://host/hub/Partitions/0", "policy", "secret").token
    assert await client.put_token("sb://host/hub/Partitions/0", token) == 202
    await client.attach_sender("hub/Partitions/0")
    assert await client.refused(Attach("s", 1, False, target=Target("hub"))) == "amqp:unauthorized-access"


async def test_other_kinds_of_tokens_and_malformed_requests_are_refused(client: RawClient) -> None:
    await client.open_unauthorized()
    token = _generate_sas_token("sb://host/hub", "policy", "secret").token
    assert await client.put_token("sb://host/hub", token, kind="jwt") == 401
    assert await client.put_token("sb://host/hub", "nonsense") == 401


async def test_a_link_ends_when_its_token_expires(client: RawClient, clock: Clock) -> None:
    await client.open_unauthorized()
    token = _generate_sas_token("sb://host/hub", "policy", "secret", timedelta(seconds=300)).token
    assert await client.put_token("sb://host/hub", token) == 202
    await client.attach_sender()
    clock.ahead = 301
    detach = await client.expect(Detach)
    assert detach.error is not None
    assert detach.error.condition == "amqp:unauthorized-access"
    assert "has expired" in (detach.error.description or "")


@pytest.mark.parametrize("address", ["nowhere", "hub/Partitions/4", "hub/Publishers/p", "hub/a/b/c"])
async def test_unknown_addresses_are_not_found(client: RawClient, address: str) -> None:
    await client.open()
    assert await client.refused(Attach("s", 0, False, target=Target(address))) == "amqp:not-found"


@pytest.mark.parametrize(
    "address",
    ["hub", "nowhere/ConsumerGroups/$Default/Partitions/0", f"{PARTITION}9", "hub/ConsumerGroups/nobody/Partitions/0"],
)
async def test_unknown_sources_are_not_found(client: RawClient, address: str) -> None:
    await client.open()
    assert await client.refused(Attach("r", 0, True, source=Source(address))) == "amqp:not-found"


async def test_a_link_without_an_address_or_with_a_bad_filter_or_epoch_is_invalid(client: RawClient) -> None:
    await client.open()
    selector = {Symbol("apache.org:selector-filter:string"): Described(Ulong(0x468C00000004), "x > 1")}
    epoch = {Symbol("com.microsoft:epoch"): "high"}
    for attach in (
        Attach("s", 0, False),
        Attach("r", 0, True, source=Source(PARTITION, filter=selector)),
        Attach("r", 0, True, source=Source(PARTITION), properties=epoch),
    ):
        assert await client.refused(attach) == "amqp:invalid-field"


# --- sending ---


async def test_a_run_of_acknowledgements_shares_a_frame(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    client.writer.write(b"".join(encode_frame(1, transfer(number), EVENT) for number in range(5)))
    assert await client.expect(Disposition) == Disposition(True, 0, 4, True, ACCEPTED)


async def test_a_settled_transfer_is_stored_without_an_answer(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    await client.attach_receiver()
    client.send(transfer(0, settled=True), EVENT)
    performative, payload = await client.frame()
    assert isinstance(performative, Transfer)
    assert payload.endswith(EVENT)


async def test_an_aborted_transfer_leaves_nothing(client: RawClient, broker: Broker) -> None:
    await client.open()
    await client.attach_sender()
    client.send(transfer(0, more=True), EVENT[:4])
    client.send(transfer(0, aborted=True))
    client.send(transfer(1, more=True), EVENT[:4])
    client.send(Transfer(0, more=False), EVENT[4:])
    assert await client.expect(Disposition) == Disposition(True, 1, 1, True, ACCEPTED)
    assert broker.namespace.hub("hub").partition("0").properties.last_sequence_number == 0


async def test_a_message_that_cannot_be_read_is_rejected(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    client.send(transfer(0), b"nonsense")
    client.send(transfer(1), EVENT)
    rejected = await client.expect(Disposition)
    assert isinstance(rejected.state, Described)
    assert "amqp:decode-error" in repr(rejected.state)
    assert await client.expect(Disposition) == Disposition(True, 1, 1, True, ACCEPTED)


async def test_a_settled_message_that_is_refused_ends_the_link(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    client.send(transfer(0, settled=True), b"nonsense")
    detach = await client.expect(Detach)
    assert detach.error is not None
    assert detach.error.condition == "amqp:decode-error"
    client.send(transfer(1), EVENT)  # may be under way: ignored
    client.send(Detach(0, closed=True))
    await client.attach_sender()


async def test_credit_is_renewed_before_it_runs_out(client: RawClient) -> None:
    await client.open()
    credit = (await client.attach_sender()).link_credit or 0
    half = credit // 2
    client.writer.write(b"".join(encode_frame(1, transfer(number, settled=True), EVENT) for number in range(half)))
    flow = await client.expect(Flow)
    assert (flow.delivery_count, flow.link_credit) == (half, credit)


async def test_a_transfer_without_a_link_ends_the_session(client: RawClient) -> None:
    await client.open()
    client.send(transfer(0, handle=7), EVENT)
    end = await client.expect(End)
    assert end.error is not None
    assert end.error.condition == "amqp:session:unattached-handle"


async def test_a_handle_that_is_in_use_ends_the_session(client: RawClient) -> None:
    await client.open()
    await client.attach_sender()
    client.send(Attach("again", 0, False, target=Target("hub")))
    end = await client.expect(End)
    assert end.error is not None
    assert end.error.condition == "amqp:session:handle-in-use"


# --- receiving ---


async def store(client: RawClient, count: int, payload: bytes = EVENT) -> None:
    await client.attach_sender()
    for number in range(count):
        client.send(transfer(number), payload)
    await client.expect(Disposition)


async def test_only_as_many_events_come_as_there_is_credit(client: RawClient) -> None:
    await client.open()
    await store(client, 5)
    assert (await client.attach_receiver(credit=2)).initial_delivery_count == 0
    for _ in range(2):
        assert (await client.expect(Transfer)).settled is True
    client.send(Flow(3, 5000, 6, 5000, 1, 2, 1, echo=True))
    await client.expect(Transfer)
    flow = await client.expect(Flow)
    assert (flow.handle, flow.delivery_count, flow.link_credit) == (1, 3, 0)


async def test_draining_sends_what_there_is_and_uses_up_the_credit(client: RawClient) -> None:
    await client.open()
    await store(client, 2)
    await client.attach_receiver(credit=0)
    client.send(Flow(1, 5000, 2, 5000, 1, 0, 10, drain=True))
    await client.expect(Transfer)
    await client.expect(Transfer)
    flow = await client.expect(Flow)
    assert (flow.delivery_count, flow.link_credit, flow.drain) == (10, 0, True)


async def test_the_window_of_the_session_is_respected(client: RawClient) -> None:
    await client.open(window=2)
    await store(client, 5)
    await client.attach_receiver(credit=0)
    client.send(Flow(1, 2, 5, 5000, 1, 0, 10))
    await client.expect(Transfer)
    await client.expect(Transfer)
    client.send(Flow(3, 1, 5, 5000, echo=True))
    await client.expect(Transfer)
    await client.expect(Flow)
    client.send(Flow(4, 5, 5, 5000))
    await client.expect(Transfer)
    await client.expect(Transfer)


async def test_an_event_larger_than_the_clients_frames_comes_in_parts(client: RawClient) -> None:
    await client.open(max_frame_size=512)
    body = bytes(range(256)) * 8
    await store(client, 1, b"\x00\x53\x75" + encode(body))
    await client.attach_receiver()
    parts: list[tuple[Transfer, bytes]] = []
    while not parts or parts[-1][0].more:
        parts.append(await client.frame())
        assert len(parts[-1][1]) <= 512
    assert b"".join(payload for _, payload in parts).endswith(body)
    assert len({performative.delivery_id for performative, _ in parts}) == 1
    assert len(parts) >= 5


async def test_a_waiting_receiver_gets_an_event_at_once(client: RawClient, port: int) -> None:
    await client.open()
    await client.attach_receiver()
    other = RawClient(*await asyncio.open_connection("127.0.0.1", port))
    await other.open()
    await store(other, 1)
    _, payload = await client.frame()
    assert payload.endswith(EVENT)
    other.writer.close()


async def test_a_slow_reader_neither_blocks_others_nor_fills_the_memory(
    client: RawClient, port: int, broker: Broker
) -> None:
    await client.open()
    await store(client, 1)
    large = b"\x00\x53\x75" + encode(bytes(60_000))
    for first in range(1, 401, 100):
        for number in range(first, first + 100):
            client.send(transfer(number), large)
        acknowledged = first - 1
        while acknowledged < first + 99:
            acknowledged = (await client.expect(Disposition)).last or 0
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setblocking(False)
    slow = RawClient(*await asyncio.open_connection(sock=raw, limit=1024))
    await slow.open()
    slow.send(Attach("slow", 1, True, source=Source(PARTITION), target=Target("me")))
    slow.send(Flow(1, 5000, 0, 5000, 1, 0, 1000))
    await client.attach_receiver(credit=401)
    for _ in range(401):
        await client.expect(Transfer)
    transports = [connection._transport for connection in broker.connections]
    assert max(transport.get_write_buffer_size() for transport in transports if transport) < 4_000_000
    assert isinstance((await slow.frame())[0], Attach)
    for number in range(401):
        performative, _ = await slow.frame()
        assert performative.delivery_id == number
    slow.writer.close()
