"""What a front-end says, and what the event stream carries of it."""

import re
from dataclasses import dataclass
from enum import StrEnum

ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
USER_ID_PATTERN = re.compile(r"[A-Za-z0-9._@:|+=-]{1,128}")


class AgentStatus(StrEnum):
    """What an agent says of themselves; one per user, whatever the number of sessions."""

    AVAILABLE = "available"
    BUSY = "busy"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One accepted message of a session.

    `received_at` is stamped by the server just before the message is offered to Event Hubs; it alone orders messages.
    `facility_id` is None when the message counts for all of the user's facilities.
    """

    user_id: str
    session_id: str
    received_at: int
    facility_id: str | None = None
    agent_status: AgentStatus | None = None
    leaving: bool = False
