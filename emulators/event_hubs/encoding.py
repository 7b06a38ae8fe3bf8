"""Writing AMQP values (OASIS AMQP 1.0, part 1: types).

The wire type follows the Python type: a plain `int` is a long and a plain `float` a double; see `values` for the rest.
"""

import struct
import uuid
from collections.abc import Callable
from typing import Any

from .values import Array, Described, Int, Symbol, Timestamp, Ubyte, Uint, Ulong, Ushort

NULL = b"\x40"
_U32 = struct.Struct(">I")


def _sized(short: int, long: int, data: bytes) -> bytes:
    size = len(data)
    if size < 256:
        return bytes((short, size)) + data
    return bytes((long,)) + _U32.pack(size) + data


def _compound(short: int, long: int, count: int, body: bytes) -> bytes:
    size = len(body)
    if size < 255 and count < 256:
        return bytes((short, size + 1, count)) + body
    return bytes((long,)) + struct.pack(">II", size + 4, count) + body


def encode_uint(value: int) -> bytes:
    """Encodes an unsigned 32-bit integer."""
    if value == 0:
        return b"\x43"
    return bytes((0x52, value)) if 0 < value < 256 else b"\x70" + _U32.pack(value)


def encode_ulong(value: int) -> bytes:
    """Encodes an unsigned 64-bit integer."""
    if value == 0:
        return b"\x44"
    return bytes((0x53, value)) if 0 < value < 256 else b"\x80" + struct.pack(">Q", value)


def encode_ushort(value: int) -> bytes:
    """Encodes an unsigned 16-bit integer."""
    return b"\x60" + struct.pack(">H", value)


def encode_ubyte(value: int) -> bytes:
    """Encodes an unsigned 8-bit integer."""
    return bytes((0x50, value))


def encode_boolean(value: bool) -> bytes:
    """Encodes a boolean."""
    return b"\x41" if value else b"\x42"


def encode_string(value: str) -> bytes:
    """Encodes a string."""
    return _sized(0xA1, 0xB1, value.encode())


def encode_symbol(value: str) -> bytes:
    """Encodes a symbol."""
    return _sized(0xA3, 0xB3, value.encode("ascii"))


def encode_binary(value: bytes) -> bytes:
    """Encodes a binary value."""
    return _sized(0xA0, 0xB0, bytes(value))


def encode_map(value: dict[Any, Any]) -> bytes:
    """Encodes a map; keys and values by their Python types."""
    body = b"".join([encode(item) for pair in value.items() for item in pair])
    return _compound(0xC1, 0xD1, 2 * len(value), body)


def encode_list(value: list[Any] | tuple[Any, ...]) -> bytes:
    """Encodes a list; items by their Python types."""
    return encode_list_of([encode(item) for item in value])


def encode_list_of(items: list[bytes]) -> bytes:
    """Encodes a list of already encoded items; never as `list0`, which azure-eventhub cannot read in a performative."""
    return _compound(0xC0, 0xD0, len(items), b"".join(items))


def _long(value: int) -> bytes:
    return struct.pack(">Bb", 0x55, value) if -128 <= value < 128 else struct.pack(">Bq", 0x81, value)


def _int(value: int) -> bytes:
    return struct.pack(">Bb", 0x54, value) if -128 <= value < 128 else struct.pack(">Bi", 0x71, value)


def _wide(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


# Every item of an array shares one constructor, so the widest form of its type is used.
_ARRAY_ITEMS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    Symbol: (0xB3, lambda item: _wide(item.encode("ascii"))),
    str: (0xB1, lambda item: _wide(item.encode())),
    bytes: (0xB0, _wide),
    int: (0x81, struct.Struct(">q").pack),
}


def encode_array(value: list[Any]) -> bytes:
    """Encodes an array; an empty one as an array of symbols."""
    constructor, encode_item = _ARRAY_ITEMS[type(value[0]) if value else Symbol]
    body = bytes((constructor,)) + b"".join([encode_item(item) for item in value])
    return _compound(0xE0, 0xF0, len(value), body)


def _described(value: Described) -> bytes:
    return b"\x00" + encode(value.descriptor) + encode(value.value)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: NULL,
    bool: encode_boolean,
    int: _long,
    Int: _int,
    Ubyte: encode_ubyte,
    Ushort: encode_ushort,
    Uint: encode_uint,
    Ulong: encode_ulong,
    Timestamp: lambda value: struct.pack(">Bq", 0x83, value),
    float: lambda value: struct.pack(">Bd", 0x82, value),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    str: encode_string,
    Symbol: encode_symbol,
    bytes: encode_binary,
    list: encode_list,
    tuple: encode_list,
    dict: encode_map,
    Array: encode_array,
    Described: _described,
}


def encode(value: object) -> bytes:
    """Encodes a value by its Python type; raises `TypeError` for a type without an AMQP counterpart."""
    try:
        encoder = _ENCODERS[type(value)]
    except KeyError:
        raise TypeError(f"{type(value).__name__} has no AMQP type") from None
    return encoder(value)
