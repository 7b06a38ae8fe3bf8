"""AMQP performatives and the composite types inside them (OASIS AMQP 1.0, part 2: transport, and part 5.3: SASL).

Every composite is encoded with all of its fields, trailing nulls included: azure-eventhub indexes into the field list
and fails on a shorter one, although the specification allows it.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from . import encoding
from .decoding import DecodeError, decode
from .values import Described, Symbol, Ulong

SASL_FRAME = 1
AMQP_FRAME = 0
_FRAME_HEADER = struct.Struct(">IBBH")


class _Kind(NamedTuple):
    """The type of a field: how it is written, and which Python types it may be read as."""

    encode: Callable[[Any], bytes]
    accepts: tuple[type, ...]
    read: Callable[[Any], Any] | None = None


def _read_multiple(value: Any) -> list[Any]:
    # A field declared `multiple` may hold one bare value instead of an array (part 1, section 1.4).
    return value if isinstance(value, list) else [value]


def _encode_multiple(value: list[Any]) -> bytes:
    # azure-eventhub misreads an empty array; null means the same.
    return encoding.encode_array([Symbol(item) for item in value]) if value else encoding.NULL


UINT = _Kind(encoding.encode_uint, (int,))
ULONG = _Kind(encoding.encode_ulong, (int,))
USHORT = _Kind(encoding.encode_ushort, (int,))
UBYTE = _Kind(encoding.encode_ubyte, (int,))
BOOLEAN = _Kind(encoding.encode_boolean, (bool,))
STRING = _Kind(encoding.encode_string, (str, Symbol))
SYMBOL = _Kind(encoding.encode_symbol, (str, Symbol))
BINARY = _Kind(encoding.encode_binary, (bytes,))
MAP = _Kind(encoding.encode_map, (dict,))
ANY = _Kind(encoding.encode, ())
SYMBOLS = _Kind(_encode_multiple, (list, str, Symbol), _read_multiple)


class _Schema(NamedTuple):
    """How a composite is written and read: its descriptors, its field types and which of the fields must be given."""

    code: int
    symbol: str | None
    kinds: tuple[_Kind, ...]
    required: tuple[int, ...]


_SCHEMAS: dict[type[Any], _Schema] = {}


def _composite[T](
    code: int, *kinds: _Kind, required: tuple[int, ...] = (), symbol: str | None = None
) -> Callable[[type[T]], type[T]]:
    def register(composite: type[T]) -> type[T]:
        _SCHEMAS[composite] = _Schema(code, symbol, kinds, required)
        return composite

    return register


def encode_composite(value: tuple[Any, ...]) -> bytes:
    """Encodes a performative or another composite, with every field present."""
    code, _, kinds, _ = _SCHEMAS[type(value)]
    fields = [encoding.NULL if item is None else kind.encode(item) for kind, item in zip(kinds, value, strict=True)]
    return bytes((0x00, 0x53, code)) + encoding.encode_list_of(fields)


def _read_fields(composite: type[Any], values: object) -> Any:
    """Checks and converts a decoded field list; raises `DecodeError` naming what is wrong with it."""
    name, (_, _, kinds, required) = composite.__name__.lower(), _SCHEMAS[composite]
    if type(values) is not list or len(values) > len(kinds):
        raise DecodeError(f"{name} is not a list of at most {len(kinds)} fields")
    for index, value in enumerate(values):
        if value is None:
            continue
        kind = kinds[index]
        if kind.accepts and type(value) not in kind.accepts:
            raise DecodeError(f"the {composite._fields[index].replace('_', '-')} of {name} has the wrong type")
        if kind.read is not None:
            values[index] = kind.read(value)
    values += [None] * (len(kinds) - len(values))
    for index in required:
        if values[index] is None:
            raise DecodeError(f"{name} lacks its {composite._fields[index].replace('_', '-')}")
    return composite._make(values)


def _composite_kind(composite: type[Any]) -> _Kind:
    code, symbol, _, _ = _SCHEMAS[composite]

    def read(value: Described) -> Any:
        # A terminus of a kind that this server does not know (a transaction coordinator) counts as none.
        return _read_fields(composite, value.value) if value.descriptor in (code, symbol) else None

    return _Kind(encode_composite, (Described,), read)


@_composite(0x1D, SYMBOL, STRING, MAP, required=(0,), symbol="amqp:error:list")
class Error(NamedTuple):
    """Why a link, session or connection ends, or a delivery is rejected (part 2, section 2.8.14)."""

    condition: str
    description: str | None = None
    info: dict[Any, Any] | None = None


_SOURCE_KINDS = (ANY, UINT, SYMBOL, UINT, BOOLEAN, MAP, SYMBOL, MAP, ANY, SYMBOLS, SYMBOLS)


@_composite(0x28, *_SOURCE_KINDS, symbol="amqp:source:list")
class Source(NamedTuple):
    """Where a link's messages come from (part 3, section 3.5.3)."""

    address: object = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[Any, Any] | None = None
    distribution_mode: str | None = None
    filter: dict[Any, Any] | None = None
    default_outcome: object = None
    outcomes: list[str] | None = None
    capabilities: list[str] | None = None


@_composite(0x29, ANY, UINT, SYMBOL, UINT, BOOLEAN, MAP, SYMBOLS, symbol="amqp:target:list")
class Target(NamedTuple):
    """Where a link's messages go to (part 3, section 3.5.4)."""

    address: object = None
    durable: int | None = None
    expiry_policy: str | None = None
    timeout: int | None = None
    dynamic: bool | None = None
    dynamic_node_properties: dict[Any, Any] | None = None
    capabilities: list[str] | None = None


_ERROR, _SOURCE, _TARGET = _composite_kind(Error), _composite_kind(Source), _composite_kind(Target)


@_composite(0x10, STRING, STRING, UINT, USHORT, UINT, SYMBOLS, SYMBOLS, SYMBOLS, SYMBOLS, MAP, required=(0,))
class Open(NamedTuple):
    """Opens a connection."""

    container_id: str
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: list[str] | None = None
    incoming_locales: list[str] | None = None
    offered_capabilities: list[str] | None = None
    desired_capabilities: list[str] | None = None
    properties: dict[Any, Any] | None = None


@_composite(0x11, USHORT, UINT, UINT, UINT, UINT, SYMBOLS, SYMBOLS, MAP, required=(1, 2, 3))
class Begin(NamedTuple):
    """Begins a session."""

    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int | None = None
    offered_capabilities: list[str] | None = None
    desired_capabilities: list[str] | None = None
    properties: dict[Any, Any] | None = None


_ATTACH_KINDS = (
    STRING,
    UINT,
    BOOLEAN,
    UBYTE,
    UBYTE,
    _SOURCE,
    _TARGET,
    MAP,
    BOOLEAN,
    UINT,
    ULONG,
    SYMBOLS,
    SYMBOLS,
    MAP,
)


@_composite(0x12, *_ATTACH_KINDS, required=(0, 1, 2))
class Attach(NamedTuple):
    """Attaches a link; `role` is False for a sender and True for a receiver."""

    name: str
    handle: int
    role: bool
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Source | None = None
    target: Target | None = None
    unsettled: dict[Any, Any] | None = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: list[str] | None = None
    desired_capabilities: list[str] | None = None
    properties: dict[Any, Any] | None = None


@_composite(0x13, UINT, UINT, UINT, UINT, UINT, UINT, UINT, UINT, BOOLEAN, BOOLEAN, MAP, required=(1, 2, 3))
class Flow(NamedTuple):
    """Updates the window of a session and, with a handle, the credit of a link."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[Any, Any] | None = None


@_composite(0x14, UINT, UINT, BINARY, UINT, BOOLEAN, BOOLEAN, UBYTE, ANY, BOOLEAN, BOOLEAN, BOOLEAN, required=(0,))
class Transfer(NamedTuple):
    """Carries a message, or a part of one when `more` is true."""

    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: object = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


@_composite(0x15, BOOLEAN, UINT, UINT, BOOLEAN, ANY, BOOLEAN, required=(0, 1))
class Disposition(NamedTuple):
    """Tells the state of deliveries `first` to `last`; `role` is True when sent by their receiver."""

    role: bool
    first: int
    last: int | None = None
    settled: bool | None = None
    state: object = None
    batchable: bool | None = None


@_composite(0x16, UINT, BOOLEAN, _ERROR, required=(0,))
class Detach(NamedTuple):
    """Detaches a link."""

    handle: int
    closed: bool | None = None
    error: Error | None = None


@_composite(0x17, _ERROR)
class End(NamedTuple):
    """Ends a session."""

    error: Error | None = None


@_composite(0x18, _ERROR)
class Close(NamedTuple):
    """Closes a connection."""

    error: Error | None = None


@_composite(0x40, SYMBOLS, required=(0,))
class SaslMechanisms(NamedTuple):
    """The ways in which a client may authenticate."""

    mechanisms: list[str]


@_composite(0x41, SYMBOL, BINARY, STRING, required=(0,))
class SaslInit(NamedTuple):
    """The client's choice of mechanism, with its first response."""

    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


@_composite(0x44, UBYTE, BINARY, required=(0,))
class SaslOutcome(NamedTuple):
    """Whether the client is authenticated: 0 for yes, 1 for no."""

    result: int
    additional_data: bytes | None = None


type Performative = (
    Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close | SaslMechanisms | SaslInit
)

_PERFORMATIVES: dict[int, type[Any]] = {
    _SCHEMAS[composite].code: composite
    for composite in (Open, Begin, Attach, Flow, Transfer, Disposition, Detach, End, Close, SaslInit)
}

ACCEPTED = Described(Ulong(0x24), [])
_ACCEPTANCE = struct.Struct(">IBBH8sIBI6s")
_ACCEPTANCE_HEAD = b"\x00\x53\x15\xc0\x12\x06\x41\x70"  # a list of 18 bytes and 6 fields: role, (uint) first
_ACCEPTANCE_TAIL = b"\x41\x00\x53\x24\x45\x40"  # settled, the state accepted, batchable


def rejected(error: Error) -> Described:
    """The outcome of a delivery that the receiver refuses."""
    return Described(Ulong(0x25), [Described(Ulong(_SCHEMAS[Error].code), list(error))])


def encode_acceptance(channel: int, first: int, last: int) -> bytes:
    """Builds the frame that accepts and settles the deliveries `first` to `last`; by hand, as each event needs one."""
    return _ACCEPTANCE.pack(
        _ACCEPTANCE.size, 2, AMQP_FRAME, channel, _ACCEPTANCE_HEAD, first, 0x70, last, _ACCEPTANCE_TAIL
    )


def decode_performative(data: bytes, at: int) -> tuple[Performative, int]:
    """Decodes the performative at `at`; returns it and where the payload starts. Raises `DecodeError`."""
    # All known clients write the descriptor as a smallulong, and there are no other performatives.
    descriptor = data[at : at + 3]
    if len(descriptor) < 3 or descriptor[:2] != b"\x00\x53" or descriptor[2] not in _PERFORMATIVES:
        raise DecodeError("the frame does not start with a known performative")
    values, end = decode(data, at + 3)
    return cast(Performative, _read_fields(_PERFORMATIVES[descriptor[2]], values)), end


def encode_frame(channel: int, performative: tuple[Any, ...], payload: bytes = b"", kind: int = AMQP_FRAME) -> bytes:
    """Builds a whole frame."""
    body = encode_composite(performative)
    return _FRAME_HEADER.pack(8 + len(body) + len(payload), 2, kind, channel) + body + payload
