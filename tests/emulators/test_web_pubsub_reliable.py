"""The reliable subprotocol of the Web PubSub emulator: Microsoft's client, lost sockets, recovery and its limits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.aio import WebPubSubClient as AsyncWebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType, SendMessageError, WebPubSubDataType

from emulators.web_pubsub.limits import Limits
from tests.emulators.web_pubsub_harness import (
    ALL_ROLES,
    DEADLINE,
    RELIABLE,
    Client,
    Emulator,
    Inbox,
    Wire,
    running_emulator,
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as running:
        yield running


@pytest.fixture
async def wire(emulator: Emulator) -> AsyncIterator[Wire]:
    async with Wire(emulator) as relay:
        yield relay


async def send(emulator: Emulator, *texts: str) -> None:
    service = await emulator.service()
    for text in texts:
        await service.send_to_group("g", text, content_type="text/plain")


async def eventually(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.01)


def recovery_url(endpoint: str, client: Client) -> str:
    token = client.welcome["reconnectionToken"]
    return f"{endpoint}/client/hubs/presence?awps_connection_id={client.id}&awps_reconnection_token={token}"


async def test_microsofts_client_joins_sends_and_receives(emulator: Emulator) -> None:
    inbox = Inbox()
    client = AsyncWebPubSubClient(emulator.url("u-1", roles=ALL_ROLES), message_retry_total=0)
    await client.subscribe(CallbackType.CONNECTED, inbox.put_async)
    await client.subscribe(CallbackType.GROUP_MESSAGE, inbox.put_async)
    await client.subscribe(CallbackType.SERVER_MESSAGE, inbox.put_async)
    async with client:
        assert (await inbox.get()).user_id == "u-1"
        await client.join_group("g")
        await client.send_to_group("g", {"n": 1}, WebPubSubDataType.JSON)
        await client.send_to_group("g", "not to myself", WebPubSubDataType.TEXT, no_echo=True)
        await send(emulator, "from the server")
        await (await emulator.service()).send_to_user("u-1", "to the user", content_type="text/plain")
        own, group, user = await inbox.take(3)
        with pytest.raises(SendMessageError) as caught:
            await client.send_event("e", "x", WebPubSubDataType.TEXT)

    assert (own.group, own.data, own.from_user_id, own.sequence_id) == ("g", {"n": 1}, "u-1", 1)
    assert (group.group, group.data, group.from_user_id, group.sequence_id) == ("g", "from the server", None, 2)
    assert (user.data, user.data_type, user.sequence_id) == ("to the user", "text", 3)
    assert caught.value.error_detail is not None
    assert caught.value.error_detail.name == "InvocationFailed"


async def test_microsofts_synchronous_client_receives(emulator: Emulator) -> None:
    """Without acks: that client can miss one that comes before it waits, and then waits for half a minute."""
    inbox = Inbox()
    client = WebPubSubClient(emulator.url("u-1", groups=["g"], roles=ALL_ROLES))
    client.subscribe(CallbackType.GROUP_MESSAGE, inbox.put)
    await asyncio.to_thread(client.open)
    await asyncio.to_thread(client.send_to_group, "g", "hello", WebPubSubDataType.TEXT, ack=False)
    assert ((message := await inbox.get()).data, message.from_user_id) == ("hello", "u-1")
    await asyncio.to_thread(client.close)


async def test_microsofts_client_without_roles_is_forbidden_to_join(emulator: Emulator) -> None:
    async with AsyncWebPubSubClient(emulator.url("u-1"), message_retry_total=0) as client:
        with pytest.raises(SendMessageError) as caught:
            await client.join_group("g")
    assert caught.value.error_detail is not None
    assert caught.value.error_detail.name == "Forbidden"


async def test_microsofts_client_recovers_what_it_missed(emulator: Emulator, wire: Wire) -> None:
    messages, ends = Inbox(), Inbox()
    client = AsyncWebPubSubClient(emulator.url("u-1", groups=["g"], endpoint=wire.endpoint))
    await client.subscribe(CallbackType.GROUP_MESSAGE, messages.put_async)
    await client.subscribe(CallbackType.DISCONNECTED, ends.put_async)
    async with client:
        await send(emulator, "1", "2")
        assert [message.data for message in await messages.take(2)] == ["1", "2"]

        await wire.cut()
        await send(emulator, "3", "4", "5")
        await wire.up()

        assert [(message.data, message.sequence_id) for message in await messages.take(3)] == [
            ("3", 3),
            ("4", 4),
            ("5", 5),
        ]
        await send(emulator, "6")
        assert (await messages.get()).data == "6"
        assert ends.empty()


async def test_only_unacknowledged_messages_are_repeated(emulator: Emulator, wire: Wire) -> None:
    client = await emulator.open(emulator.url("u-1", groups=["g"], endpoint=wire.endpoint), RELIABLE)
    await send(emulator, "1", "2", "3")
    assert [(await client.json())["sequenceId"] for _ in range(3)] == [1, 2, 3]
    await client.socket.send_json({"type": "sequenceAck", "sequenceId": 2})
    assert await client.ask({"type": "ping"}) == {"type": "pong"}

    await wire.cut()
    recovered = await emulator.open(recovery_url(emulator.endpoint, client), RELIABLE)

    assert (recovered.id, recovered.welcome["userId"]) == (client.id, "u-1")
    assert await recovered.json() == {
        "sequenceId": 3,
        "type": "message",
        "from": "group",
        "group": "g",
        "dataType": "text",
        "data": "3",
    }
    assert await recovered.ask({"type": "ping"}) == {"type": "pong"}


async def test_a_recovery_may_repeat_more_than_the_send_buffer_holds() -> None:
    async with running_emulator(Limits(send_buffer_bytes=100_000)) as emulator, Wire(emulator) as wire:
        client = await emulator.open(emulator.url("u-1", groups=["g"], endpoint=wire.endpoint), RELIABLE)
        await wire.cut()
        await send(emulator, *(f"{number} {'x' * 500_000}" for number in range(10)))
        recovered = await emulator.open(recovery_url(emulator.endpoint, client), RELIABLE)
        assert [(await recovered.json())["data"].split()[0] for _ in range(10)] == [str(number) for number in range(10)]


async def test_a_second_socket_takes_the_connection_over(emulator: Emulator) -> None:
    first = await emulator.connect("u-1", protocol=RELIABLE, groups=["g"])
    second = await emulator.open(recovery_url(emulator.endpoint, first), RELIABLE)
    await first.closed()
    await send(emulator, "1")
    assert (await second.json())["data"] == "1"
    assert await (await emulator.service()).connection_exists(first.id)


async def test_a_connection_cannot_be_recovered_after_its_time() -> None:
    async with running_emulator(Limits(recovery_seconds=0.05)) as emulator, Wire(emulator) as wire:
        client = await emulator.open(emulator.url("u-1", endpoint=wire.endpoint), RELIABLE)
        service = await emulator.service()
        await wire.cut()

        async def is_gone() -> bool:
            return not await service.connection_exists(client.id)

        await eventually(is_gone)
        late = await emulator.open(recovery_url(emulator.endpoint, client), protocols=[RELIABLE])
        assert await late.closed() == 1008


async def test_recovery_needs_the_connections_own_token(emulator: Emulator) -> None:
    one = await emulator.connect("u-1", protocol=RELIABLE)
    other = await emulator.connect("u-2", protocol=RELIABLE)
    stolen = recovery_url(emulator.endpoint, other).replace(other.id, one.id)
    thief = await emulator.open(stolen, protocols=[RELIABLE])
    assert await thief.closed() == 1008
    assert await one.ask({"type": "ping"}) == {"type": "pong"}


async def test_a_client_that_does_not_acknowledge_is_closed_for_good() -> None:
    async with running_emulator(Limits(unacknowledged_messages=10)) as emulator:
        silent = await emulator.connect("u-1", protocol=RELIABLE, groups=["g"])
        other = await emulator.connect("u-2", groups=["g"])
        await send(emulator, *map(str, range(11)))
        assert await silent.closed() == 1008
        assert [(await other.json())["data"] for _ in range(11)] == [str(number) for number in range(11)]
        again = await emulator.open(recovery_url(emulator.endpoint, silent), protocols=[RELIABLE])
        assert await again.closed() == 1008


async def test_acknowledging_keeps_a_connection_open() -> None:
    async with running_emulator(Limits(unacknowledged_messages=10)) as emulator:
        client = await emulator.connect("u-1", protocol=RELIABLE, groups=["g"])
        for number in range(50):
            await send(emulator, str(number))
            await client.socket.send_json({"type": "sequenceAck", "sequenceId": (await client.json())["sequenceId"]})
            assert await client.ask({"type": "ping"}) == {"type": "pong"}


async def test_what_the_service_closes_stays_closed(emulator: Emulator) -> None:
    client = await emulator.connect("u-1", protocol=RELIABLE)
    await (await emulator.service()).close_connection(client.id, reason="enough")
    assert await client.json() == {"type": "system", "event": "disconnected", "message": "enough"}
    assert await client.closed() == 1008
    again = await emulator.open(recovery_url(emulator.endpoint, client), protocols=[RELIABLE])
    assert await again.closed() == 1008


async def test_a_client_that_closes_is_gone_at_once(emulator: Emulator) -> None:
    client = await emulator.connect("u-1", protocol=RELIABLE)
    service = await emulator.service()
    await client.socket.close()

    async def is_gone() -> bool:
        return not await service.user_exists("u-1")

    await eventually(is_gone)
