"""The AMQP types that Python has no type of its own for (OASIS AMQP 1.0, part 1: types)."""

from typing import Any, NamedTuple


class Symbol(str):
    """A symbolic value: ASCII text with its own wire type."""

    __slots__ = ()


class Ubyte(int):
    """An unsigned 8-bit integer."""


class Ushort(int):
    """An unsigned 16-bit integer."""


class Uint(int):
    """An unsigned 32-bit integer."""


class Ulong(int):
    """An unsigned 64-bit integer."""


class Int(int):
    """A signed 32-bit integer."""


class Timestamp(int):
    """Milliseconds since 1970-01-01 UTC."""


class Array(list[Any]):
    """A sequence whose items are all of one type: all `Symbol`, all `str`, all `bytes` or all `int`."""


class Described(NamedTuple):
    """A value with the descriptor that says what it means."""

    descriptor: object
    value: object
