"""Reading AMQP values (OASIS AMQP 1.0, part 1: types).

Every integer becomes an `int`, string a `str`, binary `bytes`, list and array a `list`, map a `dict`, uuid a
`uuid.UUID`; symbols become `Symbol` and described values `Described`.
"""

import struct
import uuid
from collections.abc import Callable
from typing import Any

from .values import Described, Symbol, Ulong

_unpack_u32 = struct.Struct(">I").unpack_from
_MAX_ARRAY_OF_NOTHING = 65_536


class DecodeError(ValueError):
    """The bytes are not a valid AMQP 1.0 encoding."""


type _Decoder = Callable[[bytes, int], tuple[Any, int]]


def _constant(value: object) -> _Decoder:
    return lambda _, at: (value, at)


def _fixed(layout: str) -> _Decoder:
    unpack_from, size = struct.Struct(layout).unpack_from, struct.calcsize(layout)
    return lambda data, at: (unpack_from(data, at)[0], at + size)


def _octets(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise DecodeError("a value is longer than the data that holds it")
    return data[start:end]


def _binary8(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 1 + data[at]
    return _octets(data, at + 1, end), end


def _binary32(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _unpack_u32(data, at)[0]
    return _octets(data, at + 4, end), end


def _text(read: Callable[[bytes, int], tuple[bytes, int]], make: Callable[[bytes], str]) -> _Decoder:
    def decoder(data: bytes, at: int) -> tuple[str, int]:
        octets, end = read(data, at)
        return make(octets), end

    return decoder


def _uuid(data: bytes, at: int) -> tuple[uuid.UUID, int]:
    return uuid.UUID(bytes=_octets(data, at, at + 16)), at + 16


def _items(data: bytes, at: int, count: int, end: int) -> list[Any]:
    items = []
    decoders = _DECODERS
    for _ in range(count):
        item, at = decoders[data[at]](data, at + 1)
        items.append(item)
    if at != end:
        raise DecodeError("the items of a compound value do not fill its size")
    return items


def _list8(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 1 + data[at]
    return _items(data, at + 2, data[at + 1], end), end


def _list32(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 4 + _unpack_u32(data, at)[0]
    return _items(data, at + 8, _unpack_u32(data, at + 4)[0], end), end


def _map_of(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise DecodeError("a map has a key without a value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError:
        raise DecodeError("a map has a key that is a list or a map") from None


def _map8(data: bytes, at: int) -> tuple[dict[Any, Any], int]:
    items, end = _list8(data, at)
    return _map_of(items), end


def _map32(data: bytes, at: int) -> tuple[dict[Any, Any], int]:
    items, end = _list32(data, at)
    return _map_of(items), end


def _array_items(data: bytes, at: int, count: int, end: int) -> list[Any]:
    if at >= end:
        raise DecodeError("an array has no constructor")
    constructor = data[at]
    if constructor == 0:
        descriptor, at = decode(data, at + 1)
        described = True
        constructor = data[at]
    else:
        descriptor, described = None, False
    if 0x40 <= constructor < 0x50 and count > _MAX_ARRAY_OF_NOTHING:
        raise DecodeError("an array claims too many items that take no space")
    decoder = _DECODERS[constructor]
    at += 1
    items: list[Any] = []
    for _ in range(count):
        item, at = decoder(data, at)
        items.append(Described(descriptor, item) if described else item)
    if at != end:
        raise DecodeError("the items of an array do not fill its size")
    return items


def _array8(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 1 + data[at]
    return _array_items(data, at + 2, data[at + 1], end), end


def _array32(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 4 + _unpack_u32(data, at)[0]
    return _array_items(data, at + 8, _unpack_u32(data, at + 4)[0], end), end


def _described_value(data: bytes, at: int) -> tuple[Described, int]:
    descriptor, at = _DECODERS[data[at]](data, at + 1)
    value, at = _DECODERS[data[at]](data, at + 1)
    # A numeric descriptor is always a ulong; keeping that type lets the value be sent back as it came.
    return Described(Ulong(descriptor) if type(descriptor) is int else descriptor, value), at


def _unknown(data: bytes, at: int) -> tuple[Any, int]:
    raise DecodeError(f"0x{data[at - 1]:02x} is not an AMQP type")


_DECODERS: list[_Decoder] = [_unknown] * 256
for _code, _decoder in {
    0x00: _described_value,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(0),
    0x44: _constant(0),
    0x45: lambda _, at: ([], at),
    0x50: lambda data, at: (data[at], at + 1),
    0x51: _fixed(">b"),
    0x52: lambda data, at: (data[at], at + 1),
    0x53: lambda data, at: (data[at], at + 1),
    0x54: _fixed(">b"),
    0x55: _fixed(">b"),
    0x56: lambda data, at: (data[at] == 1, at + 1),
    0x60: _fixed(">H"),
    0x61: _fixed(">h"),
    0x70: _fixed(">I"),
    0x71: _fixed(">i"),
    0x72: _fixed(">f"),
    0x73: _text(lambda data, at: (_octets(data, at, at + 4), at + 4), lambda octets: octets.decode("utf-32-be")),
    # Decimals (0x74, 0x84, 0x94) have no use in Event Hubs' own fields; they are kept as their raw octets.
    0x74: lambda data, at: (_octets(data, at, at + 4), at + 4),
    0x80: _fixed(">Q"),
    0x81: _fixed(">q"),
    0x82: _fixed(">d"),
    0x83: _fixed(">q"),
    0x84: lambda data, at: (_octets(data, at, at + 8), at + 8),
    0x94: lambda data, at: (_octets(data, at, at + 16), at + 16),
    0x98: _uuid,
    0xA0: _binary8,
    0xA1: _text(_binary8, bytes.decode),
    0xA3: _text(_binary8, lambda octets: Symbol(octets.decode("ascii"))),
    0xB0: _binary32,
    0xB1: _text(_binary32, bytes.decode),
    0xB3: _text(_binary32, lambda octets: Symbol(octets.decode("ascii"))),
    0xC0: _list8,
    0xC1: _map8,
    0xD0: _list32,
    0xD1: _map32,
    0xE0: _array8,
    0xF0: _array32,
}.items():
    _DECODERS[_code] = _decoder

_BROKEN = (IndexError, struct.error, UnicodeDecodeError, RecursionError)


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Decodes the value at `at`; returns it and where the next one starts. Raises `DecodeError`."""
    try:
        return _DECODERS[data[at]](data, at + 1)
    except _BROKEN as error:
        raise DecodeError(f"the data ends inside a value or is malformed: {error}") from error


_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}


def skip(data: bytes, at: int) -> int:
    """Returns where the value at `at` ends without decoding it. Raises `DecodeError`."""
    try:
        constructor = data[at]
        if constructor == 0:
            return skip(data, skip(data, at + 1))
        kind = constructor >> 4
        if kind in (0xA, 0xC, 0xE):
            end = at + 2 + data[at + 1]
        elif kind in (0xB, 0xD, 0xF):
            end = at + 5 + int(_unpack_u32(data, at + 1)[0])
        else:
            end = at + 1 + _WIDTHS[kind]
    except (*_BROKEN, KeyError) as error:
        raise DecodeError(f"the data ends inside a value or is malformed: {error}") from error
    if end > len(data):
        raise DecodeError("a value is longer than the data that holds it")
    return end
