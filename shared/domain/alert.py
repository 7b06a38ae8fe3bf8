"""What is announced of a facility that stayed offline."""

from dataclasses import dataclass
from enum import StrEnum


class AlertState(StrEnum):
    """What is announced of a facility that stayed offline, and of one that came back."""

    OFFLINE = "offline"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class AnnouncedAlert:
    """A facility that is `state` since `since` was announced as that at `at` (both ms)."""

    facility_id: str
    state: AlertState
    since: int
    at: int
