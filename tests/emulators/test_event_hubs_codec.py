"""The AMQP codec: round trips, agreement with the codec inside azure-eventhub, and hostile input."""

import struct
import uuid
from typing import Any

import pytest
from azure.eventhub._pyamqp import _decode as sdk_decode
from azure.eventhub._pyamqp import _encode as sdk_encode
from azure.eventhub._pyamqp import performatives as sdk_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.event_hubs.decoding import DecodeError, decode, skip
from emulators.event_hubs.encoding import encode
from emulators.event_hubs.performatives import (
    ACCEPTED,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    Error,
    Flow,
    Open,
    SaslOutcome,
    Source,
    Target,
    Transfer,
    decode_performative,
    encode_acceptance,
    encode_composite,
    encode_frame,
)
from emulators.event_hubs.values import Array, Described, Int, Symbol, Timestamp, Ubyte, Uint, Ulong, Ushort

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def whole(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


SIGNED_64 = whole(-(2**63), 2**63 - 1)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    SIGNED_64,
    whole(0, 2**8 - 1).map(Ubyte),
    whole(0, 2**16 - 1).map(Ushort),
    whole(0, 2**32 - 1).map(Uint),
    whole(0, 2**64 - 1).map(Ulong),
    whole(-(2**31), 2**31 - 1).map(Int),
    SIGNED_64.map(Timestamp),
    st.floats(allow_nan=False),
    st.uuids(),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.text(st.characters(codec="ascii"), max_size=300).map(Symbol),
)
KEYS = st.one_of(st.text(max_size=20), st.text(st.characters(codec="ascii"), max_size=20).map(Symbol), SIGNED_64)


def arrays(smallest: int) -> st.SearchStrategy[Array]:
    return st.one_of(
        st.lists(st.text(max_size=20), min_size=smallest),
        st.lists(st.binary(max_size=20), min_size=smallest),
        st.lists(SIGNED_64, min_size=smallest, max_size=70),
    ).map(Array)


VALUES = st.recursive(
    SCALARS | arrays(smallest=0),
    lambda inner: st.one_of(
        st.lists(inner, max_size=8),
        st.dictionaries(KEYS, inner, max_size=8),
        st.builds(Described, whole(0, 2**64 - 1).map(Ulong) | st.text(max_size=9), inner),
    ),
    max_leaves=40,
)


def test_the_strategy_covers_values_of_both_widths() -> None:
    for value in ("x" * 255, "x" * 256, b"y" * 255, b"y" * 256, [None] * 254, [None] * 255, [1] * 300):
        assert decode(encode(value)) == (value, len(encode(value)))


@UNHURRIED
@given(VALUES)
def test_what_is_encoded_is_decoded_to_the_same_value(value: object) -> None:
    data = encode(value)
    assert decode(data) == (value, len(data))
    assert skip(data, 0) == len(data)


@UNHURRIED
@given(VALUES, st.binary(max_size=8), st.binary(max_size=8))
def test_a_value_ends_where_the_next_one_starts(value: object, before: bytes, after: bytes) -> None:
    data = before + encode(value) + after
    assert decode(data, len(before)) == (value, len(data) - len(after))
    assert skip(data, len(before)) == len(data) - len(after)


def as_the_sdk_reads_it(value: object) -> object:
    """azure-eventhub reads text and symbols as bytes."""
    match value:
        case str():
            return value.encode()
        case list():
            return [as_the_sdk_reads_it(item) for item in value]
        case dict():
            return {as_the_sdk_reads_it(key): as_the_sdk_reads_it(item) for key, item in value.items()}
    return value


@UNHURRIED
@given(
    st.recursive(
        SCALARS | arrays(smallest=1),  # it misreads an empty array
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(KEYS, inner, max_size=8),
        max_leaves=20,
    )
)
def test_azure_eventhub_reads_what_we_write(value: object) -> None:
    data = memoryview(encode(value))
    rest, decoded = sdk_decode._DECODE_BY_CONSTRUCTOR[data[0]](data[1:])
    assert not rest
    assert decoded == as_the_sdk_reads_it(value)


@UNHURRIED
@given(
    st.recursive(
        st.one_of(st.booleans(), whole(-(2**31), 2**31 - 1), st.floats(allow_nan=False), st.uuids(), st.text()),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    )
)
def test_we_read_what_azure_eventhub_writes(value: Any) -> None:
    output = bytearray()
    sdk_encode.encode_unknown(output, value)
    assert decode(bytes(output)) == (value, len(output))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("56 01", True),
        ("51 ff", -1),
        ("61 8000", -(2**15)),
        ("72 3fc00000", 1.5),
        ("73 0001f600", "\U0001f600"),
        ("45", []),
        ("e0 02 02 40", [None, None]),
        ("e0 07 02 00 53 24 52 01 02", [Described(Ulong(36), 1), Described(Ulong(36), 2)]),
        ("74 01020304", b"\x01\x02\x03\x04"),
    ],
)
def test_types_that_only_peers_write_are_read(data: str, value: object) -> None:
    encoded = bytes.fromhex(data)
    assert decode(encoded) == (value, len(encoded))


@UNHURRIED
@given(st.binary(max_size=64))
def test_garbage_raises_nothing_but_decode_errors(data: bytes) -> None:
    for read in (decode, skip, decode_performative):
        try:
            read(data, 0)
        except DecodeError:
            continue


@UNHURRIED
@given(VALUES, st.data())
def test_a_cut_value_is_an_error(value: object, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = data.draw(whole(0, len(encoded) - 1))
    with pytest.raises(DecodeError):
        decode(encoded[:cut])
    with pytest.raises(DecodeError):
        skip(encoded[:cut], 0)


def test_a_tower_of_lists_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(DecodeError):
        decode(b"\x00" * 100_000)


def test_an_array_of_nothing_cannot_fill_the_memory() -> None:
    with pytest.raises(DecodeError, match="too many"):
        decode(b"\xf0" + struct.pack(">II", 5, 2**32 - 1) + b"\x40")


def test_a_type_without_a_counterpart_is_refused() -> None:
    with pytest.raises(TypeError, match="complex has no AMQP type"):
        encode(1j)


ATTACH = Attach(
    name="link",
    handle=7,
    role=True,
    snd_settle_mode=1,
    rcv_settle_mode=0,
    source=Source(
        address="hub/ConsumerGroups/$Default/Partitions/0",
        filter={Symbol("f"): Described(Symbol("f"), "x > '1'")},
        outcomes=["amqp:accepted:list"],
    ),
    target=Target(address="here", timeout=300),
    initial_delivery_count=0,
    max_message_size=2**40,
    desired_capabilities=["a", "b"],
    properties={Symbol("com.microsoft:epoch"): 3},
)


@pytest.mark.parametrize(
    "performative",
    [
        Open("container", "host", 65536, 4999, 1000, properties={Symbol("product"): "p"}),
        Begin(1, 0, 5000, 5000, 255),
        ATTACH,
        Flow(1, 5000, 2, 5000, 7, 0, 100, drain=True),
        Transfer(7, 1, b"\x00", 0, settled=True, more=False),
        Detach(7, True, Error("amqp:not-found", "no such hub")),
        Close(Error("amqp:connection:forced")),
        Close(),
    ],
)
def test_performatives_survive_the_wire(performative: tuple[Any, ...]) -> None:
    assert decode_performative(encode_composite(performative), 0)[0] == performative


def test_azure_eventhub_finds_every_field_of_a_performative() -> None:
    _, fields = sdk_decode.decode_frame(memoryview(encode_frame(0, ATTACH)[8:]))
    attach = sdk_frames.AttachFrame(*fields)
    assert attach.name == b"link"
    assert attach.source[0] == b"hub/ConsumerGroups/$Default/Partitions/0"
    assert attach.properties == {b"com.microsoft:epoch": 3}
    for performative, size in ((Close(), 1), (Detach(1), 3), (Flow(None, 1, 1, 1), 11), (SaslOutcome(0), 2)):
        _, fields = sdk_decode.decode_frame(memoryview(encode_composite(performative)))
        assert len(fields) == size


def test_an_acceptance_is_a_disposition() -> None:
    frame = encode_acceptance(3, 5, 2**32 - 1)
    assert int.from_bytes(frame[:4]) == len(frame)
    assert frame[6:8] == b"\x00\x03"
    assert decode_performative(frame, 8) == (Disposition(True, 5, 2**32 - 1, True, ACCEPTED), len(frame))


def test_a_symbolic_descriptor_and_a_single_value_for_a_list_are_understood() -> None:
    source = Described("amqp:source:list", ["here"])
    data = b"\x00\x53\x12" + encode(["link", Uint(1), False, None, None, source, None, None, None, None, None, "cap"])
    attach, _ = decode_performative(data, 0)
    assert isinstance(attach, Attach)
    assert attach.source == Source("here")
    assert attach.offered_capabilities == ["cap"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "attach lacks its name"),
        (["link", Uint(1), "sender"], "the role of attach has the wrong type"),
        ([None] * 15, "attach is not a list of at most 14 fields"),
        ({"name": "link"}, "attach is not a list of at most 14 fields"),
    ],
)
def test_a_malformed_performative_is_named(fields: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode_performative(b"\x00\x53\x12" + encode(fields), 0)


def test_uuids_are_kept() -> None:
    value = uuid.uuid4()
    assert decode(encode(value))[0] == value
