"""What simulated front-ends do, decided beforehand: the same seed gives the same lives."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

JITTER = 0.1
RELOAD_SECONDS = (0.2, 0.9)
THROTTLED_BEAT_SECONDS = 60.0


class Ending(StrEnum):
    """How a front-end goes."""

    LEAVE = "leave"  # it says so
    CRASH = "crash"  # it is not heard of again


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast people come and go; mean values in seconds, shares from 0 to 1."""

    stay_seconds: float = 25.0
    away_seconds: float = 30.0
    first_arrivals_seconds: float = 5.0
    crash_share: float = 0.4
    reload_share: float = 0.25
    hidden_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Life:
    """One session. Times in seconds: `away` before it starts, the others since its start."""

    session_id: str
    away: float
    stay: float
    ending: Ending
    names_facility: bool  # whether its heartbeats say where it is, or count for all facilities of its user
    reload_at: float | None
    hidden_from: float | None  # to its end: a background tab, whose timers the browser throttles


@dataclass(frozen=True, slots=True)
class Outage:
    """A facility's network is down: nothing of its people is heard from `start` for `seconds`."""

    start: float
    seconds: float
    facility_id: str


def lives(seed: str, seat: int, pace: Pace) -> Iterator[Life]:
    """The sessions that one seat (a person at a screen) has, one after the other, without end."""
    random = Random(f"{seed}/seat/{seat}")
    # Started in the middle of a day: as many have just come as are about to go.
    away = random.uniform(0, pace.first_arrivals_seconds)
    if random.random() > pace.stay_seconds / (pace.stay_seconds + pace.away_seconds):
        away += random.uniform(0.3, 1.7) * pace.away_seconds
    while True:
        stay = random.uniform(0.3, 1.7) * pace.stay_seconds
        yield Life(
            session_id=str(uuid.UUID(int=random.getrandbits(128), version=4)),
            away=away,
            stay=stay,
            ending=Ending.CRASH if random.random() < pace.crash_share else Ending.LEAVE,
            names_facility=random.random() < 0.5,
            reload_at=random.uniform(0.2, 0.8) * stay if random.random() < pace.reload_share else None,
            hidden_from=random.uniform(0.2, 0.8) * stay if random.random() < pace.hidden_share else None,
        )
        away = random.uniform(0.3, 1.7) * pace.away_seconds


def outages(seed: str, facility_ids: Sequence[str], every_seconds: float, seconds: float) -> Iterator[Outage]:
    """The outages of a run, in order of their start and without end, on average one in `every_seconds`."""
    random = Random(f"{seed}/outages")
    start = 0.0
    while True:
        start += random.uniform(0.5, 1.5) * every_seconds
        yield Outage(start, random.uniform(0.8, 1.2) * seconds, random.choice(facility_ids))


def beat_delay(interval: float, ttl: float, *, is_hidden: bool, random: Random) -> float:
    """Seconds to the next heartbeat: the server's interval, jittered so that front-ends spread out.

    A browser lets the timers of a hidden tab fire once a minute. That keeps a session of the default TTL (90 s); with
    a shorter one it is taken in proportion.
    """
    if is_hidden:
        return min(THROTTLED_BEAT_SECONDS, ttl * THROTTLED_BEAT_SECONDS / 90.0)
    return interval * random.uniform(1 - JITTER, 1 + JITTER)


def retry_delay(attempt: int, longest: float, random: Random) -> float:
    """Seconds to the next try after `attempt` failures in a row (from 1): exponential, with full jitter."""
    return random.uniform(0, min(longest, 0.5 * 2 ** min(attempt, 16)))
