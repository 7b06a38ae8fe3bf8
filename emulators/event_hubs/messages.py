"""Messages (OASIS AMQP 1.0, part 3, section 3.2): taking events apart on the way in, and building what is delivered.

An event is taken apart once, by skipping over its sections; what consumers get is built then and kept as bytes.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .decoding import DecodeError, decode, skip
from .encoding import NULL, encode, encode_list_of, encode_map, encode_string

# The format code by which Event Hubs marks a message whose data sections hold one encoded message each.
BATCH_FORMAT = 0x80013700

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)
_SECTION_NAMES = (
    "amqp:header:list amqp:delivery-annotations:map amqp:message-annotations:map amqp:properties:list "
    "amqp:application-properties:map amqp:data:binary amqp:amqp-sequence:list amqp:amqp-value:* amqp:footer:map"
)
_SECTIONS: dict[object, int] = {name: 0x70 + index for index, name in enumerate(_SECTION_NAMES.split())}
_KINDS = {HEADER: "list", PROPERTIES: "list", SEQUENCE: "list", DATA: "binary", VALUE: ""} | dict.fromkeys(
    (DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, APPLICATION_PROPERTIES, FOOTER), "map"
)
_CONSTRUCTORS = {"list": (0xC0, 0xD0, 0x45), "map": (0xC1, 0xD1), "binary": (0xA0, 0xB0)}

_U32 = struct.Struct(">I")
_PARTITION_KEY = b"x-opt-partition-key"
_STAMPED = (b"x-opt-sequence-number", b"x-opt-offset", b"x-opt-enqueued-time")
_STAMPS = struct.Struct(">24sq15sB")
# Symbol keys, each followed by the constructor of its value: a long, a short string and a timestamp.
_SEQUENCE_NUMBER = b"\xa3\x15x-opt-sequence-number\x81"
_OFFSET = b"\xa3\x0cx-opt-offset\xa1"
_ENQUEUED_TIME = b"\xa3\x13x-opt-enqueued-time\x83"
_TIMESTAMP = struct.Struct(">q")


class Event(NamedTuple):
    """What a client sent as one event: the sections around the annotations that the service adds.

    `annotations` are `annotation_count` encoded keys and values; `body` is everything after the annotations.
    """

    header: bytes
    annotations: bytes
    annotation_count: int
    partition_key: str | None
    body: bytes


def _sections(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields code, start, start of the value and end of each section; raises `DecodeError`.

    Their order is not checked: azure-eventhub writes delivery annotations after the body.
    """
    seen = 0
    while at < end:
        start = at
        if end - at < 4 or data[at]:
            raise DecodeError("a message section lacks its descriptor")
        if data[at + 1] == 0x53:
            code, at = data[at + 2], at + 3
        else:
            descriptor, at = decode(data, at + 1)
            code = _SECTIONS.get(descriptor, 0) if isinstance(descriptor, str) else descriptor
            if type(code) is not int:
                raise DecodeError("the descriptor of a message section is neither a number nor a name")
        if at >= end or code not in _KINDS:
            raise DecodeError("a message has a section of an unknown kind")
        bit = 1 << (code - HEADER)
        if seen & bit and code not in (DATA, SEQUENCE):
            raise DecodeError(f"a message has section 0x{code:02x} twice")
        seen |= bit
        kind = _KINDS[code]
        if kind and data[at] not in _CONSTRUCTORS[kind]:
            raise DecodeError(f"section 0x{code:02x} of a message is not a {kind}")
        value, at = at, skip(data, at)
        if at > end:
            raise DecodeError("a section is longer than its message")
        yield code, start, value, at


def _items(data: bytes, at: int, end: int) -> list[tuple[int, int]]:
    """Start and end of each item of the list or map that fills `at` to `end`; raises `DecodeError`."""
    if data[at] == 0x45:
        return []
    short = data[at] in (0xC0, 0xC1)
    first = at + (3 if short else 9)
    if first > end:
        raise DecodeError("a list or map lacks its count")
    count = data[at + 2] if short else _U32.unpack_from(data, at + 5)[0]
    items, at = [], first
    while at < end:
        start, at = at, skip(data, at)
        items.append((start, at))
    if at != end or len(items) != count:
        raise DecodeError("the items of a list or map do not fill its size")
    return items


def _read_annotations(data: bytes, at: int, end: int) -> tuple[bytes, int, str | None]:
    """Reads a client's message annotations: those that are kept, how many, and the partition key among them."""
    kept: list[bytes] = []
    partition_key = None
    bounds = _items(data, at, end)
    if len(bounds) % 2:
        raise DecodeError("a message annotation has no value")
    for (key_at, key_end), (value_at, value_end) in zip(bounds[::2], bounds[1::2], strict=True):
        key = data[key_at + 2 : key_end]  # a short symbol or string: constructor, size, text
        if key in _STAMPED:
            continue
        if key == _PARTITION_KEY:
            value, _ = decode(data, value_at)
            if isinstance(value, str):
                partition_key = value
        kept.append(data[key_at:value_end])
    return b"".join(kept), 2 * len(kept), partition_key


def parse_event(data: bytes, at: int, end: int) -> Event:
    """Takes one encoded message apart; raises `DecodeError`."""
    header = annotations = b""
    count, partition_key = 0, None
    body: list[bytes] = []
    for code, start, value, stop in _sections(data, at, end):
        if code == HEADER:
            header = data[start:stop]
        elif code == MESSAGE_ANNOTATIONS:
            annotations, count, partition_key = _read_annotations(data, value, stop)
        elif code >= PROPERTIES:
            body.append(data[start:stop])
    return Event(header, annotations, count, partition_key, b"".join(body))


def parse_transfer(payload: bytes, message_format: int) -> tuple[str | None, list[Event]]:
    """Reads a delivery from a producer: its partition key, and its event, or those of a batch.

    Raises `DecodeError`.
    """
    if message_format != BATCH_FORMAT:
        event = parse_event(payload, 0, len(payload))
        return event.partition_key, [event]
    partition_key, events = None, []
    for code, _, value, stop in _sections(payload, 0, len(payload)):
        if code == DATA:
            start = value + (2 if payload[value] == 0xA0 else 5)
            events.append(parse_event(payload, start, stop))
        elif code == MESSAGE_ANNOTATIONS:
            partition_key = _read_annotations(payload, value, stop)[2]
    if not events:
        raise DecodeError("a batch holds no events")
    if partition_key is None:
        partition_key = events[0].partition_key
    else:
        events = [_with_partition_key(event, partition_key) for event in events]
    return partition_key, events


def _with_partition_key(event: Event, key: str) -> Event:
    if event.partition_key is not None:
        return event
    pair = b"\xa3\x13" + _PARTITION_KEY + encode_string(key)
    return event._replace(
        annotations=event.annotations + pair, annotation_count=event.annotation_count + 2, partition_key=key
    )


def stamp(event: Event, sequence_number: int, offset: int, enqueued_ms: int) -> bytes:
    """Builds the message that consumers get: the event with its sequence number, offset and enqueued time."""
    offset_text = b"%d" % offset
    stamps = _STAMPS.pack(_SEQUENCE_NUMBER, sequence_number, _OFFSET, len(offset_text))
    size = 4 + len(stamps) + len(offset_text) + len(_ENQUEUED_TIME) + _TIMESTAMP.size + len(event.annotations)
    return b"".join(
        (
            event.header,
            b"\x00\x53\x72\xd1",
            _U32.pack(size),
            _U32.pack(6 + event.annotation_count),
            stamps,
            offset_text,
            _ENQUEUED_TIME,
            _TIMESTAMP.pack(enqueued_ms),
            event.annotations,
            event.body,
        )
    )


def with_delivery_annotations(message: bytes, annotations: dict[Any, Any]) -> bytes:
    """Adds delivery annotations to a stored message, after its header as the order of sections demands."""
    at = skip(message, 3) if message[2] == HEADER else 0
    return message[:at] + b"\x00\x53\x71" + encode_map(annotations) + message[at:]


class Request(NamedTuple):
    """A request to `$cbs` or `$management`; `correlation_id` is the encoded id that the response must carry."""

    correlation_id: bytes
    reply_to: str | None
    properties: dict[Any, Any]
    body: object


def parse_request(payload: bytes) -> Request:
    """Reads a request message; raises `DecodeError`."""
    message_id, correlation_id, reply_to, properties, body = NULL, NULL, None, {}, None
    for code, _, value, stop in _sections(payload, 0, len(payload)):
        if code == PROPERTIES:
            fields = [payload[start:end] for start, end in _items(payload, value, stop)]
            fields += [NULL] * (6 - len(fields))
            message_id, correlation_id = fields[0], fields[5]
            reply_to = decode(fields[4])[0]
        elif code == APPLICATION_PROPERTIES:
            properties = decode(payload, value)[0]
        elif code == VALUE:
            body = decode(payload[:stop], value)[0]
    if reply_to is not None and not isinstance(reply_to, str):
        raise DecodeError("reply-to is not an address")
    # The request's message id names it; only a client that gives none can mean the correlation id.
    return Request(message_id if message_id != NULL else correlation_id, reply_to, properties, body)


def build_response(request: Request, properties: dict[str, Any], body: object) -> bytes:
    """Builds the response to a request."""
    fields = [NULL] * 5 + [request.correlation_id] + [NULL] * 7
    return b"".join(
        (
            b"\x00\x53\x73",
            encode_list_of(fields),
            b"\x00\x53\x74",
            encode_map(properties),
            b"\x00\x53\x77",
            encode(body),
        )
    )
