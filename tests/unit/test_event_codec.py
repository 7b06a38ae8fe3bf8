"""The wire format of an event: what goes in comes out, and nothing else is taken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.heartbeat import AgentStatus, Heartbeat
from shared.events.codec import (
    Canary,
    Draft,
    ForeignEventError,
    Packet,
    decode,
    encode_beat,
    encode_canary,
    encode_packet,
)

NOW = 1_795_000_000_123
ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
user_ids = st.from_regex(r"[A-Za-z0-9._@:|+=-]{1,128}", fullmatch=True)
instants = st.integers(0, 253_402_300_799_999)
drafts = st.builds(
    Draft, user_ids, ids, st.none() | ids, st.none() | st.sampled_from(AgentStatus), leaving=st.booleans()
)


@given(instants, st.lists(drafts, max_size=20))
def test_a_packet_survives_the_way(sent_at: int, sent: list[Draft]) -> None:
    body = encode_packet(sent_at, map(encode_beat, sent))
    assert decode(body) == Packet(
        sent_at,
        [Heartbeat(d.user_id, d.session_id, sent_at, d.facility_id, d.agent_status, d.leaving) for d in sent],
    )


@given(ids, instants)
def test_a_canary_survives_the_way(partition_id: str, sent_at: int) -> None:
    assert decode(encode_canary(partition_id, sent_at)) == Canary(partition_id, sent_at)
    marked = encode_canary(partition_id, sent_at, (sent_at, 7))
    assert decode(marked) == Canary(partition_id, sent_at, (sent_at, 7))


@pytest.mark.parametrize("mark", [5, [], [1], [1, 2, 3], ["1", 2], [1, -2], {"0": 1}])
def test_a_canary_with_a_broken_mark_is_foreign(mark: object) -> None:
    with pytest.raises(ForeignEventError):
        decode(json.dumps({"v": 1, "sentAt": NOW, "canary": "0", "mark": mark}).encode())


def test_a_beat_is_as_short_as_what_it_says() -> None:
    assert encode_beat(Draft("u", "s")) == '["u","s"]'
    assert encode_beat(Draft("u", "s", "f")) == '["u","s","f"]'
    assert encode_beat(Draft("u", "s", None, AgentStatus.BUSY)) == '["u","s",null,"busy"]'
    assert encode_beat(Draft("u", "s", None, None, leaving=True)) == '["u","s",null,null,1]'


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_as_foreign(body: bytes) -> None:
    try:
        decode(body)
    except ForeignEventError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, json_values)
def test_a_stranger_under_our_version_is_taken_or_refused_as_foreign(sent_at: object, beats: object) -> None:
    for event in ({"v": 1, "sentAt": NOW, "beats": beats}, {"v": 1, "sentAt": sent_at, "beats": []}):
        try:
            packet = decode(json.dumps(event).encode())
        except ForeignEventError:
            continue
        assert isinstance(packet, Packet)
        assert all(type(beat.user_id) is str and type(beat.session_id) is str for beat in packet.heartbeats)


@pytest.mark.parametrize(
    "event",
    [
        "[]",
        "{}",
        "[" * 100_000,
        '{"v":2,"sentAt":1,"beats":[]}',
        '{"v":1,"beats":[]}',
        '{"v":1,"sentAt":1.5,"beats":[]}',
        '{"v":1,"sentAt":true,"beats":[]}',
        '{"v":1,"sentAt":-1,"beats":[]}',
        '{"v":1,"sentAt":1e30,"beats":[]}',
        '{"v":1,"sentAt":1,"canary":false}',
        '{"v":1,"sentAt":1,"canary":true}',
        '{"v":1,"sentAt":1,"canary":"a b"}',
        '{"v":1,"sentAt":1,"canary":"0","beats":[]}',
        '{"v":1,"sentAt":1,"beats":{}}',
        '{"v":1,"sentAt":1,"beats":["us"]}',
        '{"v":1,"sentAt":1,"beats":[["u"]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",null,null,1,0]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s"],[1,"s"]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s\\n"]]}',
        '{"v":1,"sentAt":1,"beats":[["u","a/b"]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",""]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",null,"asleep"]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",null,["busy"]]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",null,null,2]]}',
        '{"v":1,"sentAt":1,"beats":[["u","s",null,null,"1"]]}',
    ],
)
def test_a_broken_event_is_refused(event: str) -> None:
    with pytest.raises(ForeignEventError):
        decode(event.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ForeignEventError):
        decode(b'{"v":1,"sentAt":1,"beats":[["\xff","s"]]}')
