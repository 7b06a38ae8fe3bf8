"""What is known of a facility, and how it changed."""

from dataclasses import dataclass
from enum import StrEnum


class FacilityStatus(StrEnum):
    """`REMOVED` is announced to a region that a facility no longer belongs to; it is never a stored state."""

    ONLINE = "online"
    OFFLINE = "offline"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FacilityState:
    """A facility now. Never online: version 0, offline, `since` and `reason` None."""

    facility_id: str
    status: FacilityStatus = FacilityStatus.OFFLINE
    since: int | None = None
    version: int = 0
    sessions: int = 0
    reason: str | None = None
    last_seen: int | None = None


@dataclass(frozen=True, slots=True)
class FacilityChange:
    """One numbered transition of a facility; `reason` is `heartbeat` or an end reason.

    `sessions` is the number of online sessions just after it. `again`: nothing has changed, a region that the facility
    has come to is told of it.
    """

    facility_id: str
    status: FacilityStatus
    since: int
    version: int
    sessions: int
    reason: str
    again: bool = False
