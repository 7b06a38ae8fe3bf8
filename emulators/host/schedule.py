"""When a timer fires next: an NCRONTAB expression or a constant interval."""

from datetime import datetime, timedelta
from typing import Protocol

from emulators.host.errors import StartupError
from emulators.host.host_config import parse_time_span
from emulators.host.ncrontab import Crontab


class Schedule(Protocol):
    """What a timer asks of its schedule."""

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence later than `moment`."""

    def is_frequent(self, moment: datetime) -> bool:
        """True when it fires more often than once a minute: the real host does not monitor those."""


class CronSchedule:
    """An NCRONTAB expression, in UTC."""

    def __init__(self, expression: str) -> None:
        self._crontab = Crontab(expression)

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence later than `moment`."""
        return self._crontab.next_after(moment)

    def is_frequent(self, moment: datetime) -> bool:
        """True when two occurrences fall into the next minute."""
        second = self._crontab.next_after(self._crontab.next_after(moment))
        return second <= moment + timedelta(minutes=1)


class IntervalSchedule:
    """A constant interval from one invocation's start to the next."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def next_after(self, moment: datetime) -> datetime:
        """One interval later."""
        return moment + self._interval

    def is_frequent(self, moment: datetime) -> bool:  # noqa: ARG002
        """True for intervals under a minute."""
        return self._interval < timedelta(minutes=1)


def parse_schedule(text: str, where: str) -> Schedule:
    """Reads the `schedule` of a timer trigger; raises StartupError saying what is wrong with it."""
    try:
        if " " in text.strip():
            return CronSchedule(text)
    except ValueError as error:
        raise StartupError(f"{where}: schedule {text!r}: {error}") from error
    seconds = parse_time_span(text, f"{where}: schedule")
    if seconds <= 0:
        raise StartupError(f"{where}: schedule {text!r} must be longer than nothing")
    return IntervalSchedule(seconds)
