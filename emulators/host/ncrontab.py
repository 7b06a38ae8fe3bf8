"""NCRONTAB, the schedule language of the timer trigger.

Source: github.com/atifaziz/NCrontab and the timer trigger's reference. Unlike Unix cron, a day must match both
the day-of-month and the day-of-week field.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# The Gregorian calendar repeats after 400 years, but 29 February falls on each weekday within 40.
_HORIZON_DAYS = 366 * 41


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        values: set[int] = set()
        for part in text.split(","):
            body, slash, step_text = part.partition("/")
            step = 1
            if slash:
                if not step_text.isdecimal() or int(step_text) == 0:
                    raise ValueError(f"{self.name}: {part!r} has no positive step")
                step = int(step_text)
            if body == "*":
                first, last = self.least, self.most
            elif "-" in body:
                low, _, high = body.partition("-")
                first, last = self._number(low), self._number(high)
                if first > last:
                    raise ValueError(f"{self.name}: the range {body!r} runs backwards")
            else:
                first = self._number(body)
                last = self.most if slash else first
            values.update(range(first, last + 1, step))
        return frozenset(values)

    def _number(self, text: str) -> int:
        short = text.lower()[:3]
        if self.names and short in self.names:
            return self.names.index(short) + self.least
        if not text.isdecimal() or not self.least <= int(text) <= self.most:
            raise ValueError(f"{self.name}: {text!r} is not between {self.least} and {self.most}")
        return int(text)


_SECOND = _Field("second", 0, 59)
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


class Crontab:
    """A parsed expression of six fields (seconds first) or five; raises ValueError naming the bad field."""

    def __init__(self, expression: str) -> None:
        parts = expression.split()
        if len(parts) not in (5, 6):
            raise ValueError(f"{expression!r} has {len(parts)} fields; an NCRONTAB expression has six (or five)")
        seconds = _SECOND.parse(parts[0]) if len(parts) == 6 else frozenset({0})
        minutes, hours, self._days, self._months, self._weekdays = (
            field.parse(text) for field, text in zip(_FIELDS, parts[-5:], strict=True)
        )
        self._seconds, self._minutes, self._hours = sorted(seconds), sorted(minutes), sorted(hours)

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence later than `moment` (UTC, whole seconds); raises ValueError if there is none."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day, from_time = start.date(), start.time()
        for _ in range(_HORIZON_DAYS):
            if self._matches(day):
                found = self._first_time(from_time)
                if found is not None:
                    return datetime.combine(day, found, UTC)
            day, from_time = day + timedelta(days=1), time()
        raise ValueError("the schedule never occurs")

    def _matches(self, day: date) -> bool:
        return day.month in self._months and day.day in self._days and (day.weekday() + 1) % 7 in self._weekdays

    def _first_time(self, start: time) -> time | None:
        for hour in self._hours:
            if hour < start.hour:
                continue
            for minute in self._minutes:
                if hour == start.hour and minute < start.minute:
                    continue
                at_start = hour == start.hour and minute == start.minute
                for second in self._seconds:
                    if not at_start or second >= start.second:
                        return time(hour, minute, second)
        return None
