"""Starting positions: the selector filter by which a consumer says where in a partition it begins."""

import re
from typing import NamedTuple

from .errors import INVALID_FIELD, AmqpLinkError
from .values import Described

SELECTOR = "apache.org:selector-filter:string"
_SELECTOR_CODE = 0x0000_468C_0000_0004
_EXPRESSION = re.compile(
    r"^\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'(-?\d+|@latest)'\s*$"
)


class Position(NamedTuple):
    """After, or with `inclusive` at, a value of `field`; the value None is the end of the partition."""

    field: str
    value: int | None
    inclusive: bool


EARLIEST = Position("offset", -1, False)


def parse_filter(filters: dict[object, object] | None) -> Position:
    """Reads the selector out of a source's filter map; without one, reading starts at the earliest event.

    Raises `AmqpLinkError` (amqp:invalid-field) for an expression that Event Hubs does not know.
    """
    expression = None
    for key, value in (filters or {}).items():
        inner = value.value if isinstance(value, Described) else value
        descriptor = value.descriptor if isinstance(value, Described) else key
        if SELECTOR in (key, descriptor) or descriptor == _SELECTOR_CODE:
            expression = inner
    if expression is None:
        return EARLIEST
    match = _EXPRESSION.match(expression) if isinstance(expression, str) else None
    if match is None:
        raise AmqpLinkError(
            INVALID_FIELD,
            f"The filter {expression!r} is not supported; use amqp.annotation.x-opt-offset, x-opt-sequence-number "
            "or x-opt-enqueued-time with > or >= and a quoted number or '@latest'.",
        )
    field, operator, value = match.groups()
    return Position(field, None if value == "@latest" else int(value), operator == ">=")
