"""What happened at a facility, by minute, hour and day (UTC)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.uptime import Span

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Granularity(StrEnum):
    """How long a bucket is."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> int:
        """Milliseconds."""
        return {Granularity.MINUTE: MINUTE, Granularity.HOUR: HOUR, Granularity.DAY: DAY}[self]


@dataclass(frozen=True, slots=True)
class Counts:
    """`heartbeats`: accepted ones for the facility, without `leaving`, each once. Ends are counted by their reason."""

    heartbeats: int = 0
    started: int = 0
    expired: int = 0
    left: int = 0
    ended: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.heartbeats + other.heartbeats,
            self.started + other.started,
            self.expired + other.expired,
            self.left + other.left,
            self.ended + other.ended,
        )

    @property
    def total(self) -> int:
        """Returns the sum: it grows with everything that is counted."""
        return self.heartbeats + self.started + self.expired + self.left + self.ended


@dataclass(frozen=True, slots=True)
class ActivityHour:
    """What was counted at a facility in the hour that begins at `start` (ms), in absolute numbers.

    `epoch`: where one hour was counted in several places one after another, each has its own; together they make the
    hour. `users` were heard in the hour, `users_of_day` in its day so far; both are estimates (see `docs`).
    """

    facility_id: str
    start: int
    epoch: int
    minutes: dict[int, Counts] = field(default_factory=dict)
    """Minute of the hour to what was counted in it."""
    users: int = 0
    users_of_day: int = 0

    @property
    def counts(self) -> Counts:
        """The whole hour."""
        return sum(self.minutes.values(), Counts())


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket as reported. `online` ms, None where no history tells any more; `users` None for a minute."""

    start: int
    counts: Counts = field(default_factory=Counts)
    online: int | None = 0
    users: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing happened."""
        return not (self.counts.total or self.online)


def spans(span: Span, granularity: Granularity) -> Iterator[Span]:
    """Yields the whole buckets that `span` touches, in order."""
    length = granularity.length
    for start in range(span.start - span.start % length, span.end, length):
        yield Span(start, start + length)


def totals(hours: Iterable[ActivityHour], granularity: Granularity) -> dict[int, Bucket]:
    """Returns what the hours hold, by the start of each bucket.

    Users cannot be added up: of several epochs, and of a day's hours, the greatest number counts.
    """
    found: dict[int, Bucket] = {}

    def add(start: int, counts: Counts, users: int | None) -> None:
        held = found.get(start, Bucket(start))
        most = None if users is None else max(users, held.users or 0)
        found[start] = Bucket(start, held.counts + counts, 0, most)

    for hour in hours:
        match granularity:
            case Granularity.MINUTE:
                for minute, counts in hour.minutes.items():
                    add(hour.start + minute * MINUTE, counts, None)
            case Granularity.HOUR:
                add(hour.start, hour.counts, hour.users)
            case Granularity.DAY:
                add(hour.start - hour.start % DAY, hour.counts, hour.users_of_day)
    return found
