"""A partition: an ordered, append-only sequence of events, kept in memory and optionally on disk."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import NamedTuple

from .errors import ARGUMENT_ERROR, AmqpLinkError
from .messages import Event, stamp
from .positions import Position
from .segments import Record, SegmentLog


class PartitionProperties(NamedTuple):
    """The state of a partition; an empty one has -1 for what was last enqueued, at time 0 (ms since 1970)."""

    begin_sequence_number: int
    last_sequence_number: int
    last_offset: str
    last_enqueued_ms: int
    is_empty: bool


class Partition:
    """One partition of a hub. `now_ms` is the clock that enqueued times are taken from."""

    def __init__(self, partition_id: str, now_ms: Callable[[], int], segments: SegmentLog | None = None) -> None:
        self.id = partition_id
        self._now_ms = now_ms
        self._segments = segments
        self._messages: list[bytes] = []
        self._offsets = array("q")
        self._times = array("q")
        self._first = 0  # sequence number of the oldest event that is kept
        self._next_offset = 0
        self._last_offset, self._last_ms = -1, 0
        self._waiting: list[Callable[[], None]] = []
        if segments is not None:
            for record in segments.load():
                self._add(record)
            self._first = segments.next_sequence_number - len(self._messages)
            self._next_offset = segments.next_offset
            if not self._messages:
                self._last_offset = self._next_offset - 1

    @property
    def first_sequence_number(self) -> int:
        """The sequence number of the oldest event that is kept."""
        return self._first

    @property
    def next_sequence_number(self) -> int:
        """The sequence number that the next event will get."""
        return self._first + len(self._messages)

    @property
    def properties(self) -> PartitionProperties:
        """The current state."""
        return PartitionProperties(
            self._first, self.next_sequence_number - 1, str(self._last_offset), self._last_ms, not self._messages
        )

    def append(self, events: list[Event]) -> None:
        """Stores events and wakes waiting consumers; raises `OSError` when they cannot be written, storing none."""
        enqueued_ms = max(self._now_ms(), self._last_ms)  # positions by time need times in order
        sequence_number, offset = self.next_sequence_number, self._next_offset
        records = []
        for event in events:
            message = stamp(event, sequence_number, offset, enqueued_ms)
            records.append(Record(sequence_number, offset, enqueued_ms, message))
            sequence_number += 1
            offset += len(message)
        if self._segments is not None:
            self._segments.append(records)
        for record in records:
            self._add(record)
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def _add(self, record: Record) -> None:
        self._messages.append(record.message)
        self._offsets.append(record.offset)
        self._times.append(record.enqueued_ms)
        self._last_offset, self._last_ms = record.offset, record.enqueued_ms
        self._next_offset = record.offset + len(record.message)

    def read(self, sequence_number: int, limit: int) -> list[bytes]:
        """Up to `limit` messages from `sequence_number` on, which must not be below `first_sequence_number`."""
        start = sequence_number - self._first
        return self._messages[start : start + limit]

    def wait(self, wake: Callable[[], None]) -> None:
        """Calls `wake` once, at the next append."""
        self._waiting.append(wake)

    def stop_waiting(self, wake: Callable[[], None]) -> None:
        """Forgets a `wake` that has not been called."""
        if wake in self._waiting:
            self._waiting.remove(wake)

    def locate(self, position: Position) -> int:
        """The sequence number of the first event at a position.

        Raises `AmqpLinkError` for an offset or sequence number above the last one, as Event Hubs does.
        """
        field, value, inclusive = position
        if value is None:
            # Inclusive of the end means: from the last event on.
            return max(self.next_sequence_number - (1 if inclusive else 0), self._first)
        if field == "sequence-number":
            last = self.next_sequence_number - 1
            _check("sequence number", value, last, last)
            return min(max(value + (0 if inclusive else 1), self._first), last + 1)
        if field == "offset":
            _check("offset", value, self._next_offset - 1, self._last_offset)
        values = self._offsets if field == "offset" else self._times
        index = bisect_left(values, value) if inclusive else bisect_right(values, value)
        return self._first + index

    def expire(self, oldest_ms: int) -> None:
        """Forgets the events that were enqueued before `oldest_ms`."""
        count = bisect_left(self._times, oldest_ms)
        if count:
            del self._messages[:count]
            del self._offsets[:count]
            del self._times[:count]
            self._first += count
        if self._segments is not None:
            self._segments.drop_before(oldest_ms)

    def close(self) -> None:
        """Closes the files."""
        if self._segments is not None:
            self._segments.close()


def _check(name: str, value: int, limit: int, last: int) -> None:
    if value > limit:
        raise AmqpLinkError(
            ARGUMENT_ERROR, f"The supplied {name} '{value}' is invalid. The last {name} in the system is '{last}'."
        )
