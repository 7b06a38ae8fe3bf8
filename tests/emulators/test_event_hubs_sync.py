"""The Event Hubs emulator as Microsoft's synchronous client sees it."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

from tests.emulators.event_hubs_support import DEADLINE, HUBS, Emulator, hurry_clients, start_with_hubs

_names = itertools.cycle(HUBS)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    emulator = start_with_hubs()
    yield emulator
    assert emulator.stop() == 0


@pytest.fixture(scope="module", autouse=True)
def hurry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hurry_clients(patch)
        yield


@pytest.fixture
def hub() -> str:
    """A hub that no other test uses."""
    return next(_names)


class Receiver:
    """A consumer in a thread of its own."""

    def __init__(self, emulator: Emulator, hub: str, group: str = "$Default", **options: Any) -> None:
        self.client = EventHubConsumerClient.from_connection_string(
            emulator.connection_string(),
            consumer_group=group,
            eventhub_name=hub,
            retry_total=0,
            socket_timeout=0.01,  # how long this client lets an event wait for another one
        )
        self.events: list[EventData] = []
        self.errors: list[Exception] = []
        self.changed = threading.Condition()
        options = {"partition_id": "0", "starting_position": "-1", **options}
        self.thread = threading.Thread(
            target=self.client.receive_batch, args=(self.on_event_batch,), kwargs={"on_error": self.on_error, **options}
        )
        self.thread.start()

    def on_event_batch(self, context: Any, events: list[EventData]) -> None:
        with self.changed:
            self.events += events
            self.changed.notify_all()

    def on_error(self, context: Any, error: Exception) -> None:
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    def bodies(self, count: int) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.events) >= count or self.errors, DEADLINE)
            assert not self.errors
            return [event.body_as_str() for event in self.events]

    def error(self) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: self.errors, DEADLINE)
            return str(self.errors[0])

    def close(self) -> None:
        self.client.close()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    receivers: list[Receiver] = []
    yield receivers
    closing = [threading.Thread(target=receiver.close) for receiver in receivers]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()


def producer(emulator: Emulator, hub: str, **options: Any) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        emulator.connection_string(), eventhub_name=hub, retry_total=0, **options
    )


def test_single_events_and_batches_arrive_in_order(emulator: Emulator, hub: str, receivers: list[Receiver]) -> None:
    receivers.append(receiver := Receiver(emulator, hub))
    with producer(emulator, hub) as client:
        client.send_event(EventData("single"), partition_id="0")
        batch = client.create_batch(partition_id="0")
        for number in range(20):
            batch.add(EventData(f"{number}"))
        client.send_batch(batch)
        client.send_batch([EventData("last")], partition_id="0")
        properties = client.get_partition_properties("0")
    assert receiver.bodies(22) == ["single", *map(str, range(20)), "last"]
    assert (properties["last_enqueued_sequence_number"], properties["is_empty"]) == (21, False)


def test_the_buffered_producer_delivers_everything(emulator: Emulator, hub: str, receivers: list[Receiver]) -> None:
    delivered: list[int] = []
    failed: list[Exception] = []

    def on_success(events: Any, partition_id: str | None) -> None:
        delivered.append(len(events))

    def on_error(events: Any, partition_id: str | None, error: Exception) -> None:
        failed.append(error)

    client = producer(
        emulator,
        hub,
        buffered_mode=True,
        max_wait_time=0.1,
        on_success=on_success,
        on_error=on_error,
    )
    with client:
        for number in range(30):
            client.send_event(EventData(f"{number}"), partition_id="0")
        client.flush(timeout=DEADLINE)
    receivers.append(receiver := Receiver(emulator, hub))
    assert receiver.bodies(30) == [str(number) for number in range(30)]
    assert (sum(delivered), failed) == (30, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "nobody"}, "ConsumerGroups/nobody' could not be found"),
        (
            {"starting_position": "123456"},
            "The supplied offset '123456' is invalid. The last offset in the system is '-1'",
        ),
    ],
)
def test_a_receiver_that_cannot_be_is_refused(
    emulator: Emulator, hub: str, receivers: list[Receiver], options: dict[str, Any], message: str
) -> None:
    receivers.append(receiver := Receiver(emulator, hub, **options))
    assert message in receiver.error()


def test_a_sixth_receiver_of_a_partition_is_refused(emulator: Emulator, hub: str, receivers: list[Receiver]) -> None:
    with producer(emulator, hub) as client:
        client.send_event(EventData("x"), partition_id="0")
    receivers += [Receiver(emulator, hub) for _ in range(5)]
    for receiver in receivers:
        assert receiver.bodies(1) == ["x"]
    receivers.append(sixth := Receiver(emulator, hub))
    assert "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5" in (
        sixth.error()
    )


def test_a_higher_owner_level_takes_the_partition_over(emulator: Emulator, hub: str, receivers: list[Receiver]) -> None:
    with producer(emulator, hub) as client:
        client.send_event(EventData("x"), partition_id="0")
    receivers.append(owner := Receiver(emulator, hub, owner_level=0))
    assert owner.bodies(1) == ["x"]
    receivers.append(heir := Receiver(emulator, hub, owner_level=1))
    assert heir.bodies(1) == ["x"]
    assert "higher epoch of '1' is created" in owner.error()
