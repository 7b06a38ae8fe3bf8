"""The messages that browsers get, as the contract names them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from shared.domain.facility import FacilityChange
from shared.domain.instants import to_iso
from shared.stream.entries import StaleEntry

MAX_BYTES = 64 * 1024
"""A region's changes beyond this size are split into several messages."""
_HEAD_BYTES = 256
"""Room for everything but the changes."""


def region_group(region_id: str) -> str:
    """The Web PubSub group of everyone who may see a region."""
    return f"region-{region_id}"


def agents_group(region_id: str) -> str:
    """The Web PubSub group of a region's administrators."""
    return f"agents-{region_id}"


def facility_status(region_id: str, sequence: int, changes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The newest change of some facilities of a region."""
    return {"type": "facility.status", "regionId": region_id, "sequence": sequence, "changes": list(changes)}


def presence_stale(region_id: str, sequence: int, entry: StaleEntry) -> dict[str, Any]:
    """What is shown may be outdated, since when; or is current again."""
    return {
        "type": "presence.stale",
        "regionId": region_id,
        "sequence": sequence,
        "stale": entry.stale,
        "since": to_iso(entry.since),
    }


def agent_status(user_id: str, status: str, since: int) -> dict[str, Any]:
    """What an agent is, `offline` included; of two messages the one with the later `since` holds."""
    return {"type": "agent.status", "userId": user_id, "agentStatus": status, "since": to_iso(since)}


def session_ended(session_id: str, reason: str) -> dict[str, Any]:
    """One of the user's sessions is over, at every facility."""
    return {"type": "session.ended", "sessionId": session_id, "reason": reason}


def change_item(change: FacilityChange) -> dict[str, Any]:
    """One entry of a `facility.status` message."""
    return {
        "facilityId": change.facility_id,
        "status": change.status.value,
        "since": to_iso(change.since),
        "version": change.version,
        "sessions": change.sessions,
        "reason": change.reason,
    }


def in_messages(changes: Iterable[FacilityChange]) -> Iterator[list[dict[str, Any]]]:
    """Yields the items of as few messages as the size limit allows."""
    chunk: list[dict[str, Any]] = []
    size = _HEAD_BYTES
    for change in changes:
        item = change_item(change)
        length = len(json.dumps(item)) + 2
        if chunk and size + length > MAX_BYTES:
            yield chunk
            chunk, size = [], _HEAD_BYTES
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
