"""Query parameters: each read once, in its form; what is wrong is told by name like a field of a body."""

from collections.abc import Mapping

from shared.domain.instants import from_iso
from shared.domain.uptime import Span
from shared.problems import FieldError, InvalidRequestError

_LAST_INSTANT = 253_402_300_799_999  # the last millisecond of the year 9999: what ISO 8601 can still say


def whole_number(params: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    """Returns a number from `low` to `high`. Raises InvalidRequestError."""
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise invalid(name, f"should be a whole number from {low} to {high}")
    return int(text)


def instant(params: Mapping[str, str], name: str) -> int | None:
    """Returns an ISO 8601 instant in ms, UTC where it has no offset; None where absent. Raises InvalidRequestError."""
    text = params.get(name)
    if text is None:
        return None
    try:
        # A `+` of an offset that was not percent-encoded arrives as a space.
        value = from_iso(text.replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError):
        raise invalid(name, "should be an ISO 8601 instant such as 2026-11-21T08:00:00.000Z") from None
    if not 0 <= value <= _LAST_INSTANT:
        raise invalid(name, "should be between the years 1970 and 9999")
    return value


def time_range(params: Mapping[str, str], now: int, *, length: int) -> Span:
    """Returns `from` to `to`: by default the `length` ms up to `to`, which by default is now."""
    end = instant(params, "to")
    end = now if end is None else end
    start = instant(params, "from")
    start = max(0, end - length) if start is None else start
    if start > end:
        raise invalid("from", "should not be after `to`")
    return Span(start, end)


def choice(params: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Returns one of the allowed words. Raises InvalidRequestError."""
    value = params.get(name, default)
    if value not in allowed:
        raise invalid(name, f"should be one of {', '.join(allowed)}")
    return value


def invalid(name: str, detail: str) -> InvalidRequestError:
    """Returns the problem with one parameter."""
    return InvalidRequestError([FieldError(f"/{name}", detail)])
