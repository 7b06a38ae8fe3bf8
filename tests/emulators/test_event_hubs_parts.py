"""The parts of the Event Hubs emulator on their own: messages, addresses, tokens, positions and receivers."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub._client_base import _generate_sas_token
from azure.eventhub._pyamqp import _decode as sdk_decode
from azure.eventhub._pyamqp import _encode as sdk_encode
from azure.eventhub._pyamqp.message import BatchMessage, Header, Message, Properties
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.event_hubs.addresses import Consumer, Producer, covers, parse_consumer, parse_producer, path_of
from emulators.event_hubs.decoding import DecodeError
from emulators.event_hubs.errors import AmqpLinkError
from emulators.event_hubs.messages import (
    BATCH_FORMAT,
    Event,
    parse_event,
    parse_transfer,
    stamp,
    with_delivery_annotations,
)
from emulators.event_hubs.partition_key import partition_index
from emulators.event_hubs.positions import EARLIEST, Position, parse_filter
from emulators.event_hubs.receivers import Receivers
from emulators.event_hubs.sas import SharedKey, TokenError
from emulators.event_hubs.values import Described, Symbol, Ulong

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- messages ---


def written_by_the_sdk(message: Message | BatchMessage) -> bytes:
    output = bytearray()
    sdk_encode.encode_payload(output, message)
    return bytes(output)


def read_by_the_sdk(message: bytes) -> Any:
    return sdk_decode.decode_payload(memoryview(message))


FULL = Message(
    header=Header(durable=True),
    delivery_annotations={b"dropped": 1},
    message_annotations={
        b"x-opt-sequence-number": 99,
        b"x-opt-offset": "99",
        b"x-opt-partition-key": "key",
        b"mine": [1, "two"],
    },
    properties=Properties(message_id="id", content_type="application/json"),
    application_properties={"a": 1, "b": "two"},
    data=[b"body"],
)


def test_stamping_keeps_everything_of_the_event_but_the_annotations_of_the_service() -> None:
    message = read_by_the_sdk(stamp(parse_event(written := written_by_the_sdk(FULL), 0, len(written)), 5, 700, 1234))
    assert message.header.durable is True
    assert message.delivery_annotations is None
    assert message.message_annotations == {
        b"x-opt-sequence-number": 5,
        b"x-opt-offset": b"700",
        b"x-opt-enqueued-time": 1234,
        b"x-opt-partition-key": b"key",
        b"mine": [1, b"two"],
    }
    assert message.properties.message_id == b"id"
    assert message.application_properties == {b"a": 1, b"b": b"two"}
    assert list(message.data) == [b"body"]


def test_delivery_annotations_go_between_the_header_and_the_message_annotations() -> None:
    stored = stamp(parse_event(written := written_by_the_sdk(FULL), 0, len(written)), 5, 700, 1234)
    message = with_delivery_annotations(stored, {"last_enqueued_offset": "9"})
    starts = [message.index(b"\x00\x53" + code) for code in (b"\x70", b"\x71", b"\x72")]
    assert starts == sorted(starts)
    assert read_by_the_sdk(message).delivery_annotations == {b"last_enqueued_offset": b"9"}
    bare = stamp(Event(b"", b"", 0, None, b"\x00\x53\x75\xa0\x01x"), 0, 0, 0)
    assert read_by_the_sdk(with_delivery_annotations(bare, {"k": "v"})).delivery_annotations == {b"k": b"v"}


@pytest.mark.parametrize("descriptor", ["80 0000000000000075", "a3 10 616d71703a646174613a62696e617279"])
def test_long_and_symbolic_descriptors_are_understood(descriptor: str) -> None:
    payload = b"\x00" + bytes.fromhex(descriptor) + b"\xa0\x01x"
    assert parse_transfer(payload, 0) == (None, [Event(b"", b"", 0, None, payload)])


@pytest.mark.parametrize("size", [1, 300])
def test_a_batch_is_taken_apart_and_its_key_reaches_events_without_one(size: int) -> None:
    inner = [Message(data=[b"x" * size]), Message(message_annotations={b"x-opt-partition-key": "k"}, data=[b"b"])]
    batch = BatchMessage(
        message_annotations={b"x-opt-partition-key": "k"}, data=[written_by_the_sdk(message) for message in inner]
    )
    key, events = parse_transfer(written_by_the_sdk(batch), BATCH_FORMAT)
    assert key == "k"
    stored = [read_by_the_sdk(stamp(event, 0, 0, 0)) for event in events]
    assert [list(message.data) for message in stored] == [[b"x" * size], [b"b"]]
    assert [message.message_annotations[b"x-opt-partition-key"] for message in stored] == [b"k", b"k"]


def test_value_and_sequence_bodies_are_kept() -> None:
    for message in (Message(value={"a": 1}), Message(sequence=[[1], [2]])):
        event = parse_event(written := written_by_the_sdk(message), 0, len(written))
        decoded = read_by_the_sdk(stamp(event, 0, 0, 0))
        assert (decoded.value, decoded.sequence) == (
            {b"a": 1} if message.value else None,
            [[1], [2]] if message.sequence else None,
        )


@pytest.mark.parametrize(
    "data",
    [
        "a0 01 78",  # no section
        "00 53 75 a0 05 78",  # a body longer than the message
        "00 53 73 45 00 53 73 45",  # properties twice
        "00 53 75 c0 01 00",  # data that is a list
        "00 53 10 45",  # not a section
        "00 c0 01 00 45",  # a descriptor that is a list
        "00 a3 01 78 45",  # an unknown name
        "00 53 72 c1 03 02 a3 00",  # annotations that end inside
        "00 53 72 c1 03 01 a3 00",  # a key without a value
        "00 53 75",
        "00",
    ],
)
def test_a_malformed_message_is_refused(data: str) -> None:
    payload = bytes.fromhex(data)
    with pytest.raises(DecodeError):
        parse_transfer(payload, 0)


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(DecodeError, match="no events"):
        parse_transfer(b"", BATCH_FORMAT)


@UNHURRIED
@given(st.binary(max_size=60), st.sampled_from([0, BATCH_FORMAT]))
def test_garbage_raises_nothing_but_decode_errors(data: bytes, message_format: int) -> None:
    for payload in (data, b"\x00\x53\x72" + data, b"\x00\x53\x75" + data):
        try:
            parse_transfer(payload, message_format)
        except DecodeError:
            continue


# --- partition keys and addresses ---


@UNHURRIED
@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=64), st.integers(1, 64))
def test_a_key_goes_where_the_buffered_producer_would_send_it(key: str, partitions: int) -> None:
    assert partition_index(key, partitions) == generate_hash_code(key) % partitions  # type: ignore[no-untyped-call]


def test_addresses_are_read_in_any_case_and_with_any_host() -> None:
    path = path_of("amqps://127.0.0.1:5672/Hub/ConsumerGroups/$Default/Partitions/3")
    assert parse_consumer(path) == Consumer("hub", "$default", "3")
    assert parse_producer(path_of("hub/Partitions/0")) == Producer("hub", "0")
    assert parse_producer(path_of("sb://host/hub/")) == Producer("hub", None)
    assert parse_producer(path_of("hub/Publishers/p")) is None
    assert parse_consumer(path_of("hub")) is None
    assert parse_producer("") is None


def test_access_covers_what_lies_under_it() -> None:
    assert covers("hub", "hub/partitions/1")
    assert covers("hub", "hub")
    assert covers("", "hub")
    assert not covers("hub", "hub2")
    assert not covers("hub/partitions/1", "hub")


# --- tokens ---

KEY = SharedKey("policy", "secret")
HUB = "sb://127.0.0.1:5672/hub"
NOW = 1_700_000_000.0


def token(scope: str = HUB, name: str = "policy", key: str = "secret", seconds: float = 60) -> str:
    return _generate_sas_token(scope, name, key, timedelta(seconds=seconds)).token


def test_a_good_token_grants_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    grant = KEY.verify(token(), "amqps://elsewhere/HUB/Partitions/0", NOW)
    assert grant == ("hub/partitions/0", NOW + 60)
    assert KEY.verify(token("sb://host/"), HUB, NOW).path == "hub"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (token(key="wrong"), "invalid signature"),
        (token(name="other"), "no key named 'other'"),
        (token("sb://host/hub2"), "does not cover"),
        (token().replace("sr=", "sr=x"), "invalid signature"),
        (token().replace("sig=", "sig=*"), "malformed"),
        ("SharedAccessSignature se=1&sig=x", "lacks sr, sig or se"),
        ("Bearer x", "not a shared access signature"),
    ],
)
def test_a_bad_token_is_refused(bad: str, message: str) -> None:
    with pytest.raises(TokenError, match=message):
        KEY.verify(bad, HUB, NOW)


def test_an_expired_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    with pytest.raises(TokenError, match="expired"):
        KEY.verify(token(seconds=60), HUB, NOW + 60)


def test_a_token_with_another_spelling_of_the_same_scope_is_accepted() -> None:
    import base64
    import hashlib
    import hmac

    scope = quote(HUB, safe="").lower()
    signature = base64.b64encode(hmac.digest(b"secret", f"{scope}\n{int(NOW) + 9}".encode(), hashlib.sha256)).decode()
    text = f"SharedAccessSignature sr={scope}&sig={quote(signature, safe='')}&se={int(NOW) + 9}&skn=policy"
    assert KEY.verify(text, HUB, NOW).path == "hub"


# --- positions ---

SELECTOR = Symbol("apache.org:selector-filter:string")


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("amqp.annotation.x-opt-offset > '-1'", Position("offset", -1, False)),
        ("amqp.annotation.x-opt-offset >= '12'", Position("offset", 12, True)),
        ("amqp.annotation.x-opt-offset > '@latest'", Position("offset", None, False)),
        ("amqp.annotation.x-opt-sequence-number >= '7'", Position("sequence-number", 7, True)),
        ("amqp.annotation.x-opt-enqueued-time > '1700000000000'", Position("enqueued-time", 1_700_000_000_000, False)),
    ],
)
def test_selectors_are_read(expression: str, position: Position) -> None:
    assert parse_filter({SELECTOR: Described(SELECTOR, expression)}) == position
    assert parse_filter({"any": Described(Ulong(0x468C00000004), expression)}) == position
    assert parse_filter({SELECTOR: expression}) == position


def test_without_a_selector_reading_starts_at_the_earliest_event() -> None:
    assert parse_filter(None) == parse_filter({}) == EARLIEST


@pytest.mark.parametrize("expression", ["x = 1", "amqp.annotation.x-opt-offset > 'abc'", 7])
def test_an_unknown_selector_is_refused(expression: object) -> None:
    with pytest.raises(AmqpLinkError, match="not supported"):
        parse_filter({SELECTOR: Described(SELECTOR, expression)})


# --- receivers ---


class FakeReceiver:
    def __init__(self, epoch: int | None = None) -> None:
        self.name = f"r{epoch}"
        self.epoch = epoch
        self.reason: AmqpLinkError | None = None

    def disconnect(self, reason: AmqpLinkError) -> None:
        self.reason = reason


def test_five_receivers_may_share_a_partition_and_a_sixth_may_not() -> None:
    receivers = Receivers()
    shared = [FakeReceiver() for _ in range(5)]
    for receiver in shared:
        receivers.admit(receiver)
    with pytest.raises(AmqpLinkError, match="which is 5") as refusal:
        receivers.admit(FakeReceiver())
    assert refusal.value.error.condition == "amqp:resource-limit-exceeded"
    receivers.remove(shared[0])
    receivers.admit(FakeReceiver())


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_same_or_a_higher_epoch_takes_over(epoch: int) -> None:
    receivers, owner, rival = Receivers(), FakeReceiver(1), FakeReceiver(epoch)
    receivers.admit(owner)
    receivers.admit(rival)
    assert owner.reason is not None
    assert owner.reason.error.condition == "amqp:link:stolen"
    assert rival.reason is None


def test_a_lower_epoch_and_a_shared_receiver_stay_out() -> None:
    receivers = Receivers()
    receivers.admit(owner := FakeReceiver(5))
    for other in (FakeReceiver(4), FakeReceiver(None)):
        with pytest.raises(AmqpLinkError, match="epoch") as refusal:
            receivers.admit(other)
        assert refusal.value.error.condition == "amqp:link:stolen"
    assert owner.reason is None


def test_an_epoch_disconnects_all_that_share() -> None:
    receivers, shared = Receivers(), [FakeReceiver() for _ in range(3)]
    for receiver in shared:
        receivers.admit(receiver)
    receivers.admit(FakeReceiver(0))
    assert all(receiver.reason is not None for receiver in shared)
