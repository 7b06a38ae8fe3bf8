"""Hours of activity as rows: the minutes of an hour travel as one compact text."""

import json

from shared.domain.activity import ActivityHour, Counts
from shared.domain.instants import from_iso, to_iso
from shared.store.database import Record


def activity_row(hour: ActivityHour) -> Record:
    """Returns the row of an hour."""
    counts = hour.counts
    return {
        "facility_id": hour.facility_id,
        "start_at": to_iso(hour.start),
        "epoch": hour.epoch,
        "revision": counts.total,
        "heartbeats": counts.heartbeats,
        "sessions_started": counts.started,
        "sessions_expired": counts.expired,
        "sessions_left": counts.left,
        "sessions_ended": counts.ended,
        "unique_users": hour.users,
        "unique_users_of_day": hour.users_of_day,
        "minutes": json.dumps([_numbers(*each) for each in hour.minutes.items()], separators=(",", ":")),
    }


def activity_hour(
    facility_id: str, start_at: str, epoch: int, users: int, users_of_day: int, minutes: str
) -> ActivityHour:
    """Returns the hour of a row."""
    counts = {minute: Counts(*numbers) for minute, *numbers in json.loads(minutes)}
    return ActivityHour(facility_id, from_iso(start_at), int(epoch), counts, int(users), int(users_of_day))


def _numbers(minute: int, counts: Counts) -> list[int]:
    numbers = [minute, counts.heartbeats, counts.started, counts.expired, counts.left, counts.ended]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return numbers
