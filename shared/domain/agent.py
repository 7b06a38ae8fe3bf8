"""What is known of an agent: one status per user, from their first session to the end of their last."""

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.heartbeat import AgentStatus

STATUS_CODES = {AgentStatus.AVAILABLE: 1, AgentStatus.BUSY: 2, AgentStatus.AWAY: 3}
"""How the scripts name them; 0 is offline."""
STATUSES = {code: status for status, code in STATUS_CODES.items()}


@dataclass(frozen=True, slots=True)
class Saying:
    """What a user said of themselves, or an admin of them, at a moment (ms)."""

    user_id: str
    at: int
    status: AgentStatus


@dataclass(frozen=True, slots=True)
class Agent:
    """A user with live sessions. `since` (ms): when the status became what it is.

    `presences` are pairs of CRC-32: of the facility's id, and of the session's.
    """

    user_id: str
    status: AgentStatus
    since: int
    presences: frozenset[tuple[int, int]] = frozenset()

    @property
    def sessions(self) -> int:
        """How many sessions the agent has."""
        return len({session for _, session in self.presences})


class PresenceKind(StrEnum):
    """`BEGAN` and `ENDED` name one session; `PRESENT` all that the user has there: it corrects what was known."""

    BEGAN = "began"
    ENDED = "ended"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """Something happened to a user's presence at a facility, at a moment (ms); `entry_id` is its place in the order."""

    entry_id: str
    kind: PresenceKind
    facility_id: str
    user_id: str
    session_ids: tuple[str, ...]
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class RegionMove:
    """A change of the directory that took a user out of regions, or into some."""

    user_id: str
    left: frozenset[str]
    joined: frozenset[str]
