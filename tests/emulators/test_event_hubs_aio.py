"""The Event Hubs emulator as Microsoft's asyncio client sees it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.aio._eventprocessor.in_memory_checkpoint_store import InMemoryCheckpointStore
from azure.eventhub.exceptions import AuthenticationError, EventDataSendError, EventHubError

from tests.emulators.event_hubs_support import HUBS, Clients, Emulator, hurry_clients, start_with_hubs, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_names = itertools.cycle(HUBS)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    emulator = start_with_hubs("--consumer-group", "other")
    yield emulator
    assert emulator.stop() == 0


@pytest.fixture(scope="module", autouse=True)
def hurry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hurry_clients(patch)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closing(emulator: Emulator) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    await asyncio.gather(*tasks)


@pytest_asyncio.fixture(loop_scope="module")
async def clients(emulator: Emulator, closing: list[asyncio.Task[None]]) -> AsyncIterator[Clients]:
    clients = Clients(emulator.connection_string())
    yield clients
    closing.append(asyncio.create_task(clients.close()))


@pytest.fixture
def hub() -> str:
    """A hub that no other test uses."""
    return next(_names)


async def send(producer: EventHubProducerClient, *bodies: str, **options: Any) -> None:
    await producer.send_batch([EventData(body) for body in bodies], **{"partition_id": "0", **options})


def body_of(event: EventData) -> bytes:
    body: Any = event.body
    return b"".join(body)


async def test_an_event_arrives_as_it_was_sent(clients: Clients, hub: str) -> None:
    body = bytes(range(256)) * 4
    event = EventData(body)
    event.content_type = "application/octet-stream"
    event.message_id = "m-1"
    event.correlation_id = "c-1"
    event.properties = {"text": "é", "number": 5, "big": 2**31 - 1, "flag": True, "ratio": 0.5}
    event.raw_amqp_message.annotations = {"x-custom": "kept"}
    before = datetime.now(UTC) - timedelta(seconds=1)
    await clients.producer(hub).send_event(event, partition_id="0")
    (received,) = await clients.receive(hub).get(1)
    assert body_of(received) == body
    assert (received.content_type, received.message_id, received.correlation_id) == (
        "application/octet-stream",
        "m-1",
        "c-1",
    )
    assert received.properties == {b"text": "é".encode(), b"number": 5, b"big": 2**31 - 1, b"flag": True, b"ratio": 0.5}
    annotations = received.raw_amqp_message.annotations
    assert annotations is not None
    assert annotations[b"x-custom"] == b"kept"
    assert (received.sequence_number, received.offset, received.partition_key) == (0, "0", None)
    assert received.enqueued_time is not None
    assert before <= received.enqueued_time <= datetime.now(UTC) + timedelta(seconds=1)


async def test_a_batch_with_a_key_goes_in_order_to_the_partition_of_the_key(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    ids = await producer.get_partition_ids()
    for key in ("f-1", "u-17", "another key"):
        batch = await producer.create_batch(partition_key=key)
        for number in range(50):
            batch.add(EventData(f"{key}/{number}"))
        await producer.send_batch(batch)
        await producer.send_event(EventData(f"{key}/single"), partition_key=key)
    reception = clients.receive(hub, partition_id=None)
    await reception.get(3 * 51)
    for key in ("f-1", "u-17", "another key"):
        expected = ids[generate_hash_code(key) % len(ids)]  # type: ignore[no-untyped-call]
        mine = [
            (partition, event.body_as_str())
            for partition, event in zip(reception.partitions, reception.events, strict=True)
            if event.partition_key == key.encode()
        ]
        assert mine == [(expected, f"{key}/{name}") for name in [*range(50), "single"]]


async def test_events_without_a_key_go_to_each_partition_in_turn(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    for number in range(8):
        await producer.send_event(EventData(f"{number}"))
    for partition_id in await producer.get_partition_ids():
        assert (await producer.get_partition_properties(partition_id))["last_enqueued_sequence_number"] == 1


async def test_the_buffered_producer_delivers_everything(clients: Clients, hub: str) -> None:
    delivered: list[str] = []

    async def on_success(events: Any, partition_id: str | None) -> None:
        delivered.extend(event.body_as_str() for event in events)

    async def on_error(events: Any, partition_id: str | None, error: Exception) -> None:
        raise error

    producer = clients.producer(hub, buffered_mode=True, on_success=on_success, on_error=on_error, max_wait_time=0.1)
    for number in range(200):
        await producer.send_event(EventData(f"{number}"), partition_key=f"k{number % 7}")
    await producer.flush(timeout=10)
    bodies = await clients.receive(hub, partition_id=None).bodies(200)
    assert sorted(map(int, bodies)) == list(range(200))
    assert sorted(delivered) == sorted(bodies)


async def test_every_starting_position_begins_where_it_says(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    for number in range(3):
        await send(producer, f"{number}a", f"{number}b")
        await asyncio.sleep(0.4)  # so that the enqueued times differ
    everything = await clients.receive(hub).get(6)
    third = everything[2]
    assert third.enqueued_time is not None
    time = third.enqueued_time
    latest = clients.receive(hub, group="other", starting_position="@latest")
    receptions = [
        (clients.receive(hub, starting_position=position, starting_position_inclusive=inclusive), expected)
        for position, inclusive, expected in [
            (third.offset, False, "1b 2a 2b end"),
            (third.offset, True, "1a 1b 2a 2b end"),
            (third.sequence_number, False, "1b 2a 2b end"),
        ]
    ] + [
        (
            clients.receive(hub, group="other", starting_position=position, starting_position_inclusive=inclusive),
            expected,
        )
        for position, inclusive, expected in [
            (third.sequence_number, True, "1a 1b 2a 2b end"),
            (time, True, "1a 1b 2a 2b end"),
            (time, False, "2a 2b end"),
        ]
    ]
    for reception, expected in receptions:
        await reception.get(expected.count(" "))
    await attached(latest.client)
    await send(producer, "end")
    for reception, expected in [*receptions, (latest, "end")]:
        assert await reception.bodies(expected.count(" ") + 1) == expected.split()


async def attached(client: Any, partitions: int = 1) -> None:
    """Waits until a client receives from that many partitions; the library tells nobody."""

    def receiving() -> int:
        consumers = [
            consumer for processor in client._event_processors.values() for consumer in processor._consumers.values()
        ]
        # While a consumer attaches anew its handler has no link.
        links = [getattr(consumer._handler, "_link", None) for consumer in consumers if consumer.running]
        return sum(link is not None and link.current_link_credit > 0 for link in links)

    await until(lambda: receiving() == partitions)


async def test_properties_of_hub_and_partition(clients: Clients, hub: str) -> None:
    consumer = clients.consumer(hub)
    properties = await consumer.get_eventhub_properties()
    assert (properties["eventhub_name"], properties["partition_ids"]) == (hub, ["0", "1", "2", "3"])
    assert timedelta() <= datetime.now(UTC) - properties["created_at"] < timedelta(minutes=5)
    empty = await consumer.get_partition_properties("1")
    assert (empty["is_empty"], empty["last_enqueued_sequence_number"], empty["last_enqueued_offset"]) == (
        True,
        -1,
        "-1",
    )
    await send(clients.producer(hub), "a", "b", partition_id="1")
    events = await clients.receive(hub, partition_id="1").get(2)
    full = await consumer.get_partition_properties("1")
    assert full == {
        "eventhub_name": hub,
        "id": "1",
        "beginning_sequence_number": 0,
        "last_enqueued_sequence_number": 1,
        "last_enqueued_offset": events[1].offset,
        "is_empty": False,
        "last_enqueued_time_utc": events[1].enqueued_time,
    }


async def test_the_last_enqueued_event_is_reported_with_each_event(clients: Clients, hub: str) -> None:
    await send(clients.producer(hub), "a", "b", "c")
    reception = clients.receive(hub, track_last_enqueued_event_properties=True)
    events = await reception.get(3)
    assert reception.last_enqueued is not None
    assert reception.last_enqueued["sequence_number"] == 2
    assert reception.last_enqueued["offset"] == events[2].offset
    assert reception.last_enqueued["enqueued_time"] == events[2].enqueued_time


async def test_an_event_of_many_frames_arrives_whole(clients: Clients, hub: str) -> None:
    body = bytes(number % 251 for number in range(1_000_000))
    producer = clients.producer(hub)
    await producer.send_event(EventData(body), partition_id="0")
    await send(producer, "after")
    large, after = await clients.receive(hub).get(2)
    assert body_of(large) == body
    assert after.body_as_str() == "after"


async def test_an_event_above_1_mb_is_refused_and_the_producer_lives_on(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    with pytest.raises(EventDataSendError, match="exceeds the limit"):
        await producer.send_event(EventData(b"x" * 1_048_576), partition_id="0")
    with pytest.raises(ValueError, match="size limit"):
        (await producer.create_batch()).add(EventData(b"x" * 1_048_576))
    await send(producer, "small")
    assert await clients.receive(hub).bodies(1) == ["small"]


async def test_a_small_prefetch_gets_everything_in_order(clients: Clients, hub: str) -> None:
    await send(clients.producer(hub), *map(str, range(60)))
    assert await clients.receive(hub, prefetch=7, max_batch_size=3).bodies(60) == [str(number) for number in range(60)]


async def test_many_small_events_arrive_once_and_in_order(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    reception = clients.receive(hub)
    for first in range(0, 3000, 500):
        await send(producer, *map(str, range(first, first + 500)))
    assert await reception.bodies(3000) == [str(number) for number in range(3000)]


async def test_each_consumer_group_gets_every_event(clients: Clients, hub: str) -> None:
    await send(clients.producer(hub), "a", "b")
    receptions = [clients.receive(hub, group=group) for group in ("$Default", "other", "OTHER")]
    for reception in receptions:
        assert await reception.bodies(2) == ["a", "b"]


async def test_two_consumers_share_the_partitions_and_go_on_from_the_checkpoints(clients: Clients, hub: str) -> None:
    store: Any = InMemoryCheckpointStore()  # type: ignore[no-untyped-call]
    producer = clients.producer(hub)
    processed: dict[str, list[tuple[str, str]]] = {"one": [], "two": []}

    def start(name: str) -> Any:
        async def on_event_batch(context: Any, events: list[EventData]) -> None:
            processed[name] += [(context.partition_id, event.body_as_str()) for event in events]
            await context.update_checkpoint()

        client = clients.consumer(hub, checkpoint_store=store, load_balancing_interval=6)
        clients.run(client.receive_batch(on_event_batch, starting_position="-1"))
        return client

    one = start("one")
    for partition in "0123":
        await send(producer, f"first {partition}", partition_id=partition)
    await until(lambda: len(processed["one"]) == 4)
    two = start("two")
    await attached(two, partitions=2)
    await attached(one, partitions=2)
    for partition in "0123":
        await send(producer, f"second {partition}", partition_id=partition)
    await until(lambda: len(processed["one"] + processed["two"]) >= 8)
    assert len(processed["one"]) == 6
    assert sorted(processed["one"] + processed["two"]) == sorted(
        (partition, f"{word} {partition}") for word in ("first", "second") for partition in "0123"
    )


async def test_a_higher_owner_level_takes_the_partition_over(clients: Clients, hub: str) -> None:
    producer = clients.producer(hub)
    await send(producer, "a")
    owner = clients.receive(hub, owner_level=1)
    assert await owner.bodies(1) == ["a"]
    outsider, lower = clients.receive(hub), clients.receive(hub, owner_level=0)
    assert "non-epoch receiver is not allowed" in await outsider.error()
    assert "higher epoch '1' already exists" in await lower.error()
    heir = clients.receive(hub, owner_level=2)
    assert await heir.bodies(1) == ["a"]
    assert "higher epoch of '2' is created" in await owner.error()
    await send(producer, "b")
    assert await heir.bodies(2) == ["a", "b"]
    assert len(owner.events) == 1


async def test_an_owner_evicts_those_who_shared_the_partition(clients: Clients, hub: str) -> None:
    await send(clients.producer(hub), "a")
    shared = [clients.receive(hub) for _ in range(2)]
    for reception in shared:
        await reception.get(1)
    await clients.receive(hub, owner_level=0).get(1)
    for reception in shared:
        assert "link:stolen" in await reception.error()


async def test_a_wrong_key_is_refused(clients: Clients, emulator: Emulator, hub: str) -> None:
    wrong = emulator.connection_string(key="wrong")
    with pytest.raises(AuthenticationError, match="invalid signature"):
        await clients.producer(hub, connection_string=wrong).send_event(EventData("x"), partition_id="0")
    with pytest.raises(AuthenticationError, match="401"):
        await clients.consumer(hub, connection_string=wrong).get_eventhub_properties()


async def test_what_does_not_exist_is_not_found(clients: Clients, hub: str) -> None:
    with pytest.raises(EventHubError, match="404"):
        await clients.producer("no-such-hub").send_event(EventData("x"), partition_id="0")
    with pytest.raises(EventHubError, match="404"):
        await clients.producer("no-such-hub").get_eventhub_properties()


async def test_names_are_found_in_any_case(clients: Clients, hub: str) -> None:
    await send(clients.producer(hub.upper()), "a")
    assert await clients.receive(hub.title(), group="$default").bodies(1) == ["a"]
