"""Heartbeats as `lua/ingest.lua` reads them, and what the scripts give back as plain values."""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import batched

from shared.domain.agent import Saying
from shared.domain.facility import FacilityState, FacilityStatus
from shared.domain.heartbeat import Heartbeat
from shared.registry.client import text
from shared.registry.results import Reading

REASONS = ("heartbeat", "expired", "left", "ended")
"""By their codes in `lua/prelude.lua`."""
_ONLINE = 0
"""The state of a session, as `lua/prelude.lua` has it in the last byte of its value."""


def sayings_of(said: Iterable[Heartbeat], unsaid: Iterable[Sequence[bytes | int]]) -> tuple[Saying, ...]:
    """Returns what heartbeats said, without what counts at none of the facilities where it was heard."""
    rejections = Counter((text(identity), int(at)) for flat in unsaid for identity, at in batched(flat, 2, strict=True))
    sayings = [
        Saying(beat.user_id, beat.received_at, beat.agent_status) for beat in said if beat.agent_status is not None
    ]
    if not rejections:
        return tuple(sayings)
    heard = Counter((f"{beat.user_id}/{beat.session_id}", beat.received_at) for beat in said)
    return tuple(
        saying
        for saying, beat in zip(sayings, said, strict=True)
        if heard[key := (f"{beat.user_id}/{beat.session_id}", beat.received_at)] > rejections[key]
    )


def flat(messages: Mapping[str, list[str | int]]) -> list[str | int]:
    """Returns the heartbeats of a partition, three words each, as `lua/ingest.lua` reads them."""
    words: list[str | int] = []
    for facility_id, of_facility in messages.items():
        words += (facility_id, len(of_facility) // 3)
        words += of_facility
    return words


def place(reading: Reading | None, newest: int) -> tuple[str | int, ...]:
    """Returns the arguments that say where a stream gave the heartbeats; `newest` receivedAt of them (ms)."""
    return () if reading is None else (reading.stream, reading.first, reading.last, newest)


def facility_state(facility_id: str, packed: bytes | None, heard: bytes | None) -> FacilityState:
    """Returns the state of a facility from its packed state and the value of HEARD; None where there is none."""
    seen = int.from_bytes(heard[:6]) if heard else None
    if packed is None:
        return FacilityState(facility_id, last_seen=seen)
    online, since, version, sessions, reason = struct.unpack(">B6s6sIB7x", packed)
    if not any(since):
        # Never online, only its departure from a region was numbered.
        return FacilityState(facility_id, version=int.from_bytes(version), last_seen=seen)
    return FacilityState(
        facility_id=facility_id,
        status=FacilityStatus.ONLINE if online else FacilityStatus.OFFLINE,
        since=int.from_bytes(since),
        version=int.from_bytes(version),
        sessions=sessions,
        reason=REASONS[reason],
        last_seen=seen,
    )


def online_sessions(values: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Returns (user, session) of those online among the session values of a facility."""
    found = []
    for identity, packed in values.items():
        if packed[-1] == _ONLINE:
            user_id, _, session_id = text(identity).partition("/")
            # Neither `HEARD` nor the sessions that nobody knows (see `lua/restore.lua`) have one.
            if session_id:
                found.append((user_id, session_id))
    return found
