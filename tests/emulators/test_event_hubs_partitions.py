"""Partitions of the Event Hubs emulator: positions, retention, and the files they are kept in."""

import logging
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub._pyamqp import _decode as sdk_decode

from emulators.event_hubs.errors import AmqpLinkError
from emulators.event_hubs.hubs import DataDirectoryError, HubSettings, Namespace
from emulators.event_hubs.messages import (
    Event,
)
from emulators.event_hubs.partition import Partition
from emulators.event_hubs.positions import EARLIEST, Position
from emulators.event_hubs.segments import SegmentLog


def event(body: bytes = b"x") -> Event:
    return Event(b"", b"", 0, None, b"\x00\x53\x75\xa0" + bytes((len(body),)) + body)


def decoded(message: bytes) -> Any:
    return sdk_decode.decode_payload(memoryview(message))


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def received(partition: Partition, position: Position) -> list[int]:
    messages = partition.read(partition.locate(position), 1000)
    return [EventData._from_message(decoded(message)).sequence_number or 0 for message in messages]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def partition(clock: Clock) -> Partition:
    partition = Partition("0", clock)
    for _ in range(5):
        partition.append([event(), event()])
        clock.ms += 1000
    return partition


def offset(partition: Partition, sequence_number: int) -> int:
    message = decoded(partition.read(sequence_number, 1)[0])
    return int(message.message_annotations[b"x-opt-offset"])


def test_every_kind_of_position_is_found(partition: Partition) -> None:
    everything = list(range(10))
    assert received(partition, EARLIEST) == everything
    assert received(partition, Position("offset", None, False)) == []
    assert received(partition, Position("offset", None, True)) == [9]
    assert received(partition, Position("offset", offset(partition, 3), False)) == everything[4:]
    assert received(partition, Position("offset", offset(partition, 3), True)) == everything[3:]
    assert received(partition, Position("offset", offset(partition, 3) + 1, True)) == everything[4:]
    assert received(partition, Position("sequence-number", 3, False)) == everything[4:]
    assert received(partition, Position("sequence-number", 3, True)) == everything[3:]
    assert received(partition, Position("sequence-number", -1, False)) == everything
    assert received(partition, Position("enqueued-time", 1_002_000, True)) == everything[4:]
    assert received(partition, Position("enqueued-time", 1_002_000, False)) == everything[6:]
    assert received(partition, Position("enqueued-time", 9_999_000, False)) == []


@pytest.mark.parametrize("field", ["offset", "sequence-number"])
def test_a_position_beyond_the_end_is_refused(partition: Partition, field: str) -> None:
    with pytest.raises(AmqpLinkError, match=r"is invalid\. The last") as refusal:
        partition.locate(Position(field, 1_000_000, False))
    assert refusal.value.error.condition == "com.microsoft:argument-error"


def test_expired_events_go_and_the_numbers_go_on(partition: Partition, clock: Clock) -> None:
    partition.expire(1_002_000)
    assert received(partition, EARLIEST) == [4, 5, 6, 7, 8, 9]
    assert received(partition, Position("sequence-number", 1, False)) == [4, 5, 6, 7, 8, 9]
    assert partition.properties.begin_sequence_number == 4
    last_offset = partition.properties.last_offset
    partition.expire(clock.ms + 1)
    assert partition.properties == (10, 9, last_offset, 1_004_000, True)
    assert received(partition, Position("offset", int(last_offset), False)) == []
    partition.append([event()])
    assert received(partition, EARLIEST) == [10]


def test_enqueued_times_never_go_back(partition: Partition, clock: Clock) -> None:
    clock.ms = 5
    partition.append([event()])
    assert partition.properties.last_enqueued_ms == 1_004_000


def test_a_new_partition_is_empty(clock: Clock) -> None:
    assert Partition("0", clock).properties == (0, -1, "-1", 0, True)


def test_a_waiting_consumer_is_woken_once(partition: Partition) -> None:
    woken: list[str] = []
    partition.wait(lambda: woken.append("a"))
    partition.stop_waiting(print)
    partition.append([event()])
    partition.append([event()])
    assert woken == ["a"]


# --- files ---


def reopened(directory: Path, clock: Clock) -> Partition:
    return Partition("0", clock, SegmentLog(directory, 4000))


def test_events_are_there_again_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = reopened(tmp_path, clock)
    for number in range(6):
        first.append([event(b"%d" % number)] * 3)
        clock.ms += 700
    first.close()
    second = reopened(tmp_path, clock)
    assert second.read(0, 100) == first.read(0, 100)
    assert second.properties == first.properties
    second.append([event()])
    assert received(second, EARLIEST) == list(range(19))
    assert offset(second, 18) == offset(second, 17) + len(second.read(17, 1)[0])
    second.close()


@pytest.mark.parametrize("lost", [1, 20, 45])
def test_a_torn_record_is_cut_off(tmp_path: Path, clock: Clock, lost: int, caplog: pytest.LogCaptureFixture) -> None:
    first = reopened(tmp_path, clock)
    first.append([event(), event(), event()])
    first.close()
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes()[:-lost])
    with caplog.at_level(logging.WARNING):
        second = reopened(tmp_path, clock)
    assert "unfinished record" in caplog.text
    assert received(second, EARLIEST) == [0, 1]
    second.append([event(b"again")])
    second.close()
    third = reopened(tmp_path, clock)
    assert received(third, EARLIEST) == [0, 1, 2]
    third.close()


def test_expired_segments_are_deleted_and_the_numbers_go_on_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = reopened(tmp_path, clock)
    for _ in range(5):
        first.append([event()])
        clock.ms += 1000
    assert len(list(tmp_path.glob("*.log"))) == 5
    first.expire(clock.ms)
    assert len(list(tmp_path.glob("*.log"))) == 1
    first.close()
    second = reopened(tmp_path, clock)
    second.expire(clock.ms)
    assert second.properties[:2] == (5, 4)
    second.append([event()])
    assert received(second, EARLIEST) == [5]
    second.close()


def test_an_event_that_cannot_be_written_is_not_stored(tmp_path: Path, clock: Clock) -> None:
    partition = reopened(tmp_path, clock)
    partition.append([event()])
    partition.close()
    with pytest.raises(OSError, match="not open"):
        partition.append([event()])
    assert received(partition, EARLIEST) == [0]


def test_a_hub_keeps_its_birthday_and_refuses_another_number_of_partitions(tmp_path: Path, clock: Clock) -> None:
    Namespace(["Hub"], HubSettings(partitions=2, data_dir=tmp_path), clock).close()
    born, clock.ms = clock.ms, clock.ms + 5
    again = Namespace(["Hub"], HubSettings(partitions=2, data_dir=tmp_path), clock)
    assert again.hub("hub").created_ms == born
    again.close()
    with pytest.raises(DataDirectoryError, match="--partitions 2"):
        Namespace(["Hub"], HubSettings(partitions=3, data_dir=tmp_path), clock)
