"""What the registry is asked and answers: plain values, and why a call was refused."""

from dataclasses import dataclass

from shared.domain.agent import Saying

UNASSIGNED = ""
"""The facility of sessions that belong to none: kept and counted, never announced."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What a batch of heartbeats did; the sum of the first four is the number of messages given.

    `began`: presences that began. `said`: the agent statuses that count.
    """

    applied: int = 0
    duplicates: int = 0
    late: int = 0
    ended: int = 0
    changes: int = 0
    began: int = 0
    said: tuple[Saying, ...] = ()

    def __add__(self, other: "IngestResult") -> "IngestResult":
        return IngestResult(
            self.applied + other.applied,
            self.duplicates + other.duplicates,
            self.late + other.late,
            self.ended + other.ended,
            self.changes + other.changes,
            self.began + other.began,
            self.said + other.said,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a stream (an Event Hubs partition) gives heartbeats: from position `first` to `last`, none of others."""

    stream: str
    first: int
    last: int


class StraddleError(Exception):
    """Some of the heartbeats were read before, some were not: they are to be given apart (see `read_positions`)."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """How many presences ended and how many status changes that made; `more`: work is left behind."""

    ended: int = 0
    changes: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """When a user was last heard (ms), and by which sessions that are online."""

    at: int
    session_ids: frozenset[str]
