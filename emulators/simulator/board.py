"""The states of all facilities as a subscriber holds them, following the sequence rules of the contract."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True)
class Facility:
    """One facility as last heard."""

    status: str = "offline"
    version: int = 0
    name: str = ""


@dataclass(slots=True)
class Region:
    """One region as last heard; `sequence` None: nothing held yet."""

    region_id: str
    sequence: int | None = None
    stale: bool = False
    facilities: dict[str, Facility] = field(default_factory=dict)

    @property
    def online(self) -> int:
        """How many facilities are online."""
        return sum(facility.status == "online" for facility in self.facilities.values())


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one facility that a message brought."""

    region_id: str
    facility_id: str
    status: str
    since: str
    reason: str | None
    sessions: int
    version: int

    @property
    def since_seconds(self) -> float:
        """`since` as seconds since 1970."""
        return datetime.fromisoformat(self.since).timestamp()


class Board:
    """Takes in snapshots and messages."""

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}

    def take_snapshot(self, snapshot: dict[str, Any]) -> None:
        """Replaces what is held of a region."""
        region = self._region(snapshot["regionId"])
        region.sequence = snapshot["sequence"]
        region.stale = snapshot["stale"]
        region.facilities = {
            facility["facilityId"]: Facility(facility["status"], facility["version"], facility["name"])
            for facility in snapshot["facilities"]
        }

    def take_message(self, message: dict[str, Any]) -> tuple[list[Transition], bool]:
        """Applies a message; returns its changes, and whether messages before it are missing (read the snapshot)."""
        if "sequence" not in message:
            return [], False
        region = self._region(message["regionId"])
        held = region.sequence
        has_gap = held is None or message["sequence"] > held + 1
        if held is not None and message["sequence"] <= held:
            return [], False
        if not has_gap:
            region.sequence = message["sequence"]
        if message["type"] == "presence.stale":
            region.stale = message["stale"]
        transitions = []
        for change in message.get("changes", ()) if message["type"] == "facility.status" else ():
            facility = region.facilities.setdefault(change["facilityId"], Facility())
            if change["version"] <= facility.version:
                continue
            facility.version = change["version"]
            facility.status = change["status"]
            transitions.append(
                Transition(
                    region.region_id,
                    change["facilityId"],
                    change["status"],
                    change["since"],
                    change["reason"],
                    change["sessions"],
                    change["version"],
                )
            )
            if change["status"] == "removed":
                del region.facilities[change["facilityId"]]
        return transitions, has_gap

    def _region(self, region_id: str) -> Region:
        return self.regions.setdefault(region_id, Region(region_id))
