"""When a session ends, and why."""

from dataclasses import dataclass
from enum import StrEnum


class EndReason(StrEnum):
    """Why a session ended."""

    EXPIRED = "expired"
    LEFT = "left"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SessionTiming:
    """The durations that decide a session's deadline, in milliseconds."""

    ttl: int
    leave_grace: int

    def __post_init__(self) -> None:
        # A grace longer than the TTL would let a session that says goodbye outlive one that falls silent.
        object.__setattr__(self, "leave_grace", min(self.leave_grace, self.ttl))


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session's presence at one facility, over. `facility_id` is "" for a session that was never assigned to one."""

    user_id: str
    session_id: str
    facility_id: str
    started_at: int
    ended_at: int
    reason: EndReason


def deadline(last_beat: int, last_leave: int | None, timing: SessionTiming) -> tuple[int, EndReason]:
    """Returns the moment at which a session ends if nothing more is heard, and the reason it would have.

    The message with the greatest `received_at` decides; at a tie `leaving` does.
    """
    if last_leave is not None and last_leave >= last_beat:
        return last_leave + timing.leave_grace, EndReason.LEFT
    return last_beat + timing.ttl, EndReason.EXPIRED


def heartbeat_interval(configured_seconds: float, ttl_seconds: float) -> float:
    """Returns the seconds between heartbeats that a front-end is asked for: three fit into a TTL, none is under 1 s."""
    return max(1.0, min(configured_seconds, ttl_seconds / 3))
