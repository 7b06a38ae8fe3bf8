"""The messages that browsers get, as the contract names them."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.domain.facility import FacilityChange
from shared.domain.instants import to_iso
from shared.stream.entries import AlertEntry, StaleEntry

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


def facility_status(region_id: str, sequence: int, changes: Iterable[FacilityChange]) -> dict[str, Any]:
    """The newest change of some facilities of a region."""
    items = [change_item(change) for change in changes]
    return {"type": "facility.status", "regionId": region_id, "sequence": sequence, "changes": items}


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


def facility_alert(region_id: str, sequence: int | None, alert: AlertEntry) -> dict[str, Any]:
    """A facility has been offline for too long, or is back after that."""
    return {
        "type": "facility.alert",
        "regionId": region_id,
        "sequence": sequence,
        "facilityId": alert.facility_id,
        "state": alert.state.value,
        "since": to_iso(alert.since),
    }


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


def in_messages[T](items: Iterable[T], change_of: Callable[[T], FacilityChange]) -> Iterator[list[T]]:
    """Yields the items in as few messages as the size limit allows."""
    chunk: list[T] = []
    size = _HEAD_BYTES
    for item in items:
        length = len(json.dumps(change_item(change_of(item)))) + 2
        if chunk and size + length > MAX_BYTES:
            yield chunk
            chunk, size = [], _HEAD_BYTES
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
