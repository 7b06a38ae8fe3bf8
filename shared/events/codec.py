"""The wire format of an Event Hubs event: a packet of heartbeats, or a canary. UTF-8 JSON without spaces.

    {"v":1,"sentAt":1700000000000,"beats":[["u-1","s-1"],["u-2","s-2","f-2"],["u-3","s-3",null,"busy",1]]}
    {"v":1,"sentAt":1700000000000,"canary":"3","mark":[1690000000000,4711]}

A beat is `[user, session, facility, agent status, leaving]`; trailing elements that say nothing are left out.
`sentAt` is the `receivedAt` of every heartbeat in the packet: all are stamped in the moment the packet is sent.
A canary names the Event Hubs partition it was sent to, and where the data in Redis stood by then (see
`shared.pipeline.recovery`): epoch and progress.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN, AgentStatus, Heartbeat
from shared.errors import PulseError

VERSION = 1
_LAST_INSTANT = 253_402_300_799_999  # the last millisecond of the year 9999: what ISO 8601 can still say
_STATUSES = {str(status): status for status in AgentStatus}
_encode = json.JSONEncoder(separators=(",", ":")).encode


class ForeignEventError(PulseError):
    """An event is not one of ours or is broken; reading it again would not help, so it is to be set aside."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A heartbeat that has not been stamped yet; the fields mean what those of `Heartbeat` mean."""

    user_id: str
    session_id: str
    facility_id: str | None = None
    agent_status: AgentStatus | None = None
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """Heartbeats that travelled in one event."""

    sent_at: int
    heartbeats: list[Heartbeat] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Canary:
    """Proves, once it is read, that all of its partition that was accepted before `sent_at` has been read."""

    partition_id: str
    sent_at: int
    mark: tuple[int, int] = (0, 0)


def encode_beat(draft: Draft) -> str:
    """Returns a beat's part of a packet."""
    beat: list[str | int | None] = [draft.user_id, draft.session_id]
    if draft.leaving:
        beat += (draft.facility_id, draft.agent_status, 1)
    elif draft.agent_status is not None:
        beat += (draft.facility_id, draft.agent_status)
    elif draft.facility_id is not None:
        beat.append(draft.facility_id)
    return _encode(beat)


def encode_packet(sent_at: int, beats: Iterable[str]) -> bytes:
    """Returns the body of an event that carries beats encoded by `encode_beat`, all received at `sent_at`."""
    return f'{{"v":{VERSION},"sentAt":{sent_at},"beats":[{",".join(beats)}]}}'.encode()


def encode_canary(partition_id: str, sent_at: int, mark: tuple[int, int] = (0, 0)) -> bytes:
    """Returns the body of a canary to this partition; `mark`: epoch and progress of the data in Redis."""
    return _encode({"v": VERSION, "sentAt": sent_at, "canary": partition_id, "mark": mark}).encode()


def decode(body: bytes) -> Packet | Canary:
    """Returns what an event carries. Raises ForeignEventError unless every part of it is valid."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise ForeignEventError("the body is not JSON") from None
    if not isinstance(event, dict) or event.get("v") != VERSION:
        raise ForeignEventError(f"the body is not an object with v = {VERSION}")
    sent_at = event.get("sentAt")
    if type(sent_at) is not int or not 0 <= sent_at <= _LAST_INSTANT:
        raise ForeignEventError("sentAt is not an instant in milliseconds")
    beats, partition_id = event.get("beats"), event.get("canary")
    if isinstance(partition_id, str) and beats is None and ID_PATTERN.fullmatch(partition_id):
        return Canary(partition_id, sent_at, _decode_mark(event.get("mark")))
    if not isinstance(beats, list) or partition_id is not None:
        raise ForeignEventError("there is neither a list of beats nor a canary")
    try:
        return Packet(sent_at, [_decode_beat(beat, sent_at) for beat in beats])
    except (ValueError, TypeError, KeyError) as error:
        raise ForeignEventError(f"a beat is broken: {error}") from None


def _decode_mark(mark: Any) -> tuple[int, int]:
    if mark is None:
        return 0, 0
    if type(mark) is not list or len(mark) != 2 or not all(type(part) is int and part >= 0 for part in mark):
        raise ForeignEventError("the canary's mark is not a pair of numbers")
    return mark[0], mark[1]


def _decode_beat(beat: Any, received_at: int) -> Heartbeat:
    if type(beat) is not list or not 2 <= len(beat) <= 5:
        raise ValueError("not a list of two to five elements")
    user, session, facility, status, leaving = beat + [None] * (5 - len(beat))
    # fullmatch raises TypeError for anything but text, so types are checked here too.
    if USER_ID_PATTERN.fullmatch(user) is None:
        raise ValueError("the user id has the wrong form")
    if ID_PATTERN.fullmatch(session) is None:
        raise ValueError("the session id has the wrong form")
    if facility is not None and ID_PATTERN.fullmatch(facility) is None:
        raise ValueError("the facility id has the wrong form")
    if leaving is not None and leaving != 1:
        raise ValueError("leaving is neither absent nor 1")
    return Heartbeat(user, session, received_at, facility, None if status is None else _STATUSES[status], bool(leaving))
