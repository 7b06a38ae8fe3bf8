"""The publisher against the Event Hubs emulator: what is answered has been accepted, and outages pass."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio._client_base_async import ClientBaseAsync

from shared.connections import EventHubConnection
from shared.domain.heartbeat import AgentStatus, Heartbeat
from shared.errors import DependencyUnavailableError
from shared.events import link
from shared.events.codec import Canary, Draft, Packet, decode
from shared.events.publisher import HeartbeatPublisher
from tests.emulators.event_hubs_support import Clients, Emulator, until

# azure-eventhub leaves sockets whose peer has gone to the garbage collector, which warns about them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HUB = "heartbeats"
PARTITIONS = {"0", "1", "2", "3"}
DEADLINE = 20.0


def clock() -> int:
    return time.time_ns() // 1_000_000


def start_emulator(port: int = 0) -> Emulator:
    return Emulator("--hub", HUB, "--partitions", "4", *(("--port", str(port)) if port else ()))


def publisher_to(connection_string: str) -> HeartbeatPublisher:
    return HeartbeatPublisher(EventHubConnection(HUB, "$Default", connection_string=connection_string), 10, clock)


@pytest.fixture(autouse=True)
def leave_no_garbage() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    emulator = start_emulator()
    yield emulator
    if emulator.process.poll() is None:
        emulator.stop(kill=True)


@pytest.fixture
async def publisher(emulator: Emulator) -> AsyncIterator[HeartbeatPublisher]:
    publisher = publisher_to(emulator.connection_string())
    yield publisher
    await publisher.close()


async def read_events(emulator: Emulator, enough: int) -> list[EventData]:
    """Returns all events of all partitions, once there are at least `enough` heartbeats and canaries in them."""
    clients = Clients(emulator.connection_string())
    receptions = [clients.receive(HUB, partition_id=partition) for partition in PARTITIONS]

    def received() -> list[EventData]:
        return [event for reception in receptions for event in reception.events]

    await until(lambda: sum(weight(event) for event in received()) >= enough)
    events = received()
    await clients.close()
    return events


def content(event: EventData) -> Packet | Canary:
    return decode(event.body_as_str().encode())


def weight(event: EventData) -> int:
    what = content(event)
    return len(what.heartbeats) if isinstance(what, Packet) else 1


def heartbeats(events: list[EventData]) -> list[Heartbeat]:
    packets = [what for what in map(content, events) if isinstance(what, Packet)]
    return [beat for packet in packets for beat in packet.heartbeats]


async def test_what_is_published_is_in_the_hub(publisher: HeartbeatPublisher, emulator: Emulator) -> None:
    before = clock()
    received_at = await publisher.publish(
        [Draft("u-1", "s-1"), Draft("u-2", "s-2", "f-2", AgentStatus.AWAY, leaving=True)]
    )
    assert before <= received_at[0] == received_at[1] <= clock()
    assert heartbeats(await read_events(emulator, 2)) == [
        Heartbeat("u-1", "s-1", received_at[0]),
        Heartbeat("u-2", "s-2", received_at[1], "f-2", AgentStatus.AWAY, leaving=True),
    ]
    assert await publisher.publish([]) == []


async def test_concurrent_calls_share_events(publisher: HeartbeatPublisher, emulator: Emulator) -> None:
    stamps = await asyncio.gather(*(publisher.publish([Draft(f"u-{n}", "s")]) for n in range(500)))
    events = await read_events(emulator, 500)
    assert {(beat.user_id, beat.received_at) for beat in heartbeats(events)} == {
        (f"u-{n}", stamp[0]) for n, stamp in enumerate(stamps)
    }
    assert len(events) <= 5
    assert all(event.partition_key is None for event in events)


async def test_a_call_larger_than_an_event_is_split(publisher: HeartbeatPublisher) -> None:
    """Each event has a stamp of its own, and the hub takes none over 1 MB."""
    stamps = await publisher.publish([Draft(f"{n:0128}", "s" * 64, "f" * 64) for n in range(5000)])
    assert len(stamps) == 5000
    assert len(set(stamps)) == 2


async def test_messages_sent_one_after_another_never_tie(publisher: HeartbeatPublisher) -> None:
    stamps = [(await publisher.publish([Draft("u", "s")]))[0] for _ in range(20)]
    assert stamps == sorted(set(stamps))


async def test_a_caller_that_is_cancelled_disturbs_nobody(publisher: HeartbeatPublisher) -> None:
    calls = [asyncio.create_task(publisher.publish([Draft(f"u-{n}", "s")])) for n in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes.pop(3), asyncio.CancelledError)
    assert all(isinstance(outcome, list) for outcome in outcomes)


async def test_each_partition_gets_a_canary(publisher: HeartbeatPublisher, emulator: Emulator) -> None:
    assert set(await publisher.partition_ids()) == PARTITIONS
    for sent_at in (1000, 2000):
        assert await publisher.send_canaries(sent_at) == dict.fromkeys(PARTITIONS, sent_at)
    assert {content(event) for event in await read_events(emulator, 8)} == {
        Canary(partition_id, sent_at) for partition_id in PARTITIONS for sent_at in (1000, 2000)
    }


async def test_partitions_that_a_hub_is_given_later_get_canaries_within_a_minute(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, time_now = {"0", "1"}, [clock()]
    read = ClientBaseAsync._get_partition_ids_async

    async def read_known(client: ClientBaseAsync) -> list[str]:
        return [each for each in await read(client) if each in known]

    monkeypatch.setattr(ClientBaseAsync, "_get_partition_ids_async", read_known)
    connection = EventHubConnection(HUB, "$Default", connection_string=emulator.connection_string())
    publisher = HeartbeatPublisher(connection, 10, lambda: time_now[0])
    assert set(await publisher.send_canaries(time_now[0])) == {"0", "1"}
    known |= PARTITIONS
    time_now[0] += 59_999
    assert set(await publisher.send_canaries(time_now[0])) == {"0", "1"}, "asked once a minute"
    time_now[0] += 1
    assert set(await publisher.send_canaries(time_now[0])) == PARTITIONS
    assert set(await publisher.partition_ids()) == PARTITIONS
    await publisher.close()


async def test_a_connection_that_was_idle_for_long_is_replaced(
    publisher: HeartbeatPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publisher.publish([Draft("u", "s")])
    first = publisher._links[-1]._client
    monkeypatch.setattr(link, "_IDLE_SECONDS", 0)
    await publisher.publish([Draft("u", "s")])
    assert first is not None
    assert publisher._links[-1]._client is not first


async def test_a_managed_identity_is_shared_by_all_links() -> None:
    publisher = HeartbeatPublisher(
        EventHubConnection(HUB, "$Default", namespace="ns.servicebus.windows.net", client_id="id"), 10, clock
    )
    clients = [publisher._make_client() for _ in range(2)]
    assert {id(client._credential) for client in clients} == {id(publisher._credential)}
    assert clients[0].eventhub_name == HUB
    await publisher.close()


async def test_a_hub_that_is_not_there_is_said_so_and_recovered_from() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    publisher = publisher_to(
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )
    outcomes = await asyncio.gather(
        *(publisher.publish([Draft(f"u-{n}", "s")]) for n in range(20)), return_exceptions=True
    )
    assert {str(outcome).partition(":")[0] for outcome in outcomes} == {"eventHubs is not available"}
    for call in (publisher.ping(), publisher.send_canaries(1)):
        with pytest.raises(DependencyUnavailableError):
            await call
    emulator = start_emulator(port)
    await accepted(publisher)
    assert set(await publisher.send_canaries(clock())) == PARTITIONS
    await publisher.close()
    emulator.stop()


async def test_publishing_goes_on_after_a_restart(publisher: HeartbeatPublisher, emulator: Emulator) -> None:
    await publisher.publish([Draft("u", "s")])
    await publisher.send_canaries(clock())
    emulator.stop(kill=True)
    with pytest.raises(DependencyUnavailableError):
        await publisher.publish([Draft("u", "s")])
    with pytest.raises(DependencyUnavailableError):
        await publisher.send_canaries(clock())
    restarted = start_emulator(emulator.port)
    await accepted(publisher)
    assert set(await publisher.send_canaries(clock())) == PARTITIONS
    restarted.stop()


async def test_a_hub_that_hangs_is_not_waited_for(publisher: HeartbeatPublisher, emulator: Emulator) -> None:
    await publisher.publish([Draft("u", "s")])
    os.kill(emulator.process.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE):
            outcomes = await asyncio.gather(
                *(publisher.publish([Draft("u", "s")]) for _ in range(5)), return_exceptions=True
            )
        assert all(isinstance(outcome, DependencyUnavailableError) for outcome in outcomes)
    finally:
        os.kill(emulator.process.pid, signal.SIGCONT)
    await accepted(publisher)


async def accepted(publisher: HeartbeatPublisher) -> None:
    """Returns when the hub accepts again."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await publisher.publish([Draft("u", "s")])
            except DependencyUnavailableError:
                continue
            return
