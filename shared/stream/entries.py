"""What the streams carry, parsed."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.agent import PresenceEvent, PresenceKind, RegionMove
from shared.domain.alert import AlertState
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.session import EndedSession, EndReason

_VERSION = "1"
"""The form of entries that this code writes and reads; an entry without `v` has it."""
_LAST_MS = 253_402_300_799_999
"""The last moment that a date can name (the year 9999)."""
_LONGEST_ID = 64
_LONGEST_USER = 128
_REASONS = ("heartbeat", *EndReason, "removed")


class UnknownEntryError(ValueError):
    """An entry that this code does not understand; it is to be set aside, never to be skipped silently."""


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """A facility's change; `region_id` is given where it is not the facility's present region."""

    change: FacilityChange
    region_id: str | None = None


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """The pipeline became stale, and why, or current again after having been stale since `began`; for every region.

    `told`: browsers know, or are told something newer.
    """

    stale: bool
    since: int
    cause: str = "stalled"
    began: int | None = None
    told: bool = False


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """An agent's status changed, or `offline`. `region_ids`: whose admins are told, where not those of the agent's."""

    user_id: str
    status: str
    since: int
    region_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A session is over at every facility."""

    user_id: str
    session_id: str
    reason: EndReason


@dataclass(frozen=True, slots=True)
class AlertEntry:
    """A facility has been offline for too long, or is back after that; for its region. Decided at `at` (ms).

    `told`: browsers know, or are told something newer.
    """

    facility_id: str
    state: AlertState
    since: int
    at: int = 0
    told: bool = False

    @property
    def alert_id(self) -> str:
        """The same for every copy of an alert, and no other alert's."""
        return f"{self.facility_id}/{self.state}/{self.since}"


def parse_change(fields: Mapping[str, str]) -> StatusEntry | StaleEntry | AlertEntry:
    """Returns the entry of a `changes` stream. Raises UnknownEntryError."""
    try:
        _check_version(fields)
        match fields["kind"]:
            case "status":
                change = FacilityChange(
                    facility_id=_identity(fields["facility"]),
                    status=FacilityStatus(fields["status"]),
                    since=_moment(fields["since"]),
                    version=_count(fields["version"]),
                    sessions=_count(fields["sessions"]),
                    reason=_reason(fields["reason"]),
                    again=fields.get("again") == "1",
                )
                return StatusEntry(change, fields.get("region"))
            case "stale":
                # An entry of an earlier version of this code does not say what it ends.
                began = _moment(fields["began"]) if "began" in fields else None
                cause = fields.get("cause", "stalled")
                return StaleEntry(fields["stale"] == "1", _moment(fields["since"]), cause, began, "told" in fields)
            case "alert":
                since = _moment(fields["since"])
                # An entry of an earlier version of this code does not say when it was decided.
                at = _moment(fields["at"]) if "at" in fields else since
                return AlertEntry(
                    _identity(fields["facility"]), AlertState(fields["state"]), since, at, "told" in fields
                )
            case kind:
                raise UnknownEntryError(f"unknown kind of change: {kind!r}")
    except (KeyError, ValueError) as error:
        if isinstance(error, UnknownEntryError):
            raise
        raise UnknownEntryError(f"malformed change: {error!r}") from error


def parse_ended(fields: Mapping[str, str]) -> EndedSession:
    """Returns the entry of an `ended` stream. Raises UnknownEntryError."""
    try:
        _check_version(fields)
        user_id, separator, session_id = fields["id"].partition("/")
        if not separator:
            raise UnknownEntryError(f"malformed session id: {fields['id']!r}")
        return EndedSession(
            user_id=_identity(user_id, _LONGEST_USER),
            session_id=_identity(session_id),
            facility_id=_identity(fields["facility"], shortest=0),
            started_at=_moment(fields["started"]),
            ended_at=_moment(fields["ended"]),
            reason=EndReason(fields["reason"]),
        )
    except (KeyError, ValueError) as error:
        if isinstance(error, UnknownEntryError):
            raise
        raise UnknownEntryError(f"malformed ended session: {error!r}") from error


def parse_presence(entry_id: str, fields: Mapping[str, str]) -> PresenceEvent:
    """Returns the entry of a `presence` stream. Raises UnknownEntryError."""
    try:
        [(kind, value)] = fields.items()
        facility_id, user_id, sessions, at, reason = value.split("/")
        session_ids = tuple(filter(None, sessions.split(",")))
        return PresenceEvent(entry_id, PresenceKind(kind), facility_id, user_id, session_ids, int(at), reason)
    except ValueError as error:
        if isinstance(error, UnknownEntryError):
            raise
        raise UnknownEntryError(f"malformed presence: {error!r}") from error


def parse_agent_news(fields: Mapping[str, str]) -> AgentEntry | SessionEntry:
    """Returns the entry of an `agents-urgent` or `agents-traffic` stream. Raises UnknownEntryError."""
    try:
        match fields["kind"]:
            case "status":
                regions = frozenset(fields["regions"].split("/")) if "regions" in fields else None
                return AgentEntry(fields["user"], fields["status"], int(fields["since"]), regions)
            case "ended":
                return SessionEntry(fields["user"], fields["session"], EndReason(fields["reason"]))
            case kind:
                raise UnknownEntryError(f"unknown kind of news: {kind!r}")
    except (KeyError, ValueError) as error:
        if isinstance(error, UnknownEntryError):
            raise
        raise UnknownEntryError(f"malformed news: {error!r}") from error


def parse_region_move(fields: Mapping[str, str]) -> RegionMove:
    """Returns the entry of the stream of moves. Raises UnknownEntryError."""
    try:
        left, joined = (frozenset(filter(None, fields[name].split("/"))) for name in ("left", "joined"))
        return RegionMove(fields["user"], left, joined)
    except KeyError as error:
        raise UnknownEntryError(f"malformed move: {error!r}") from error


def _check_version(fields: Mapping[str, str]) -> None:
    version = fields.get("v", _VERSION)
    if version != _VERSION:
        raise UnknownEntryError(f"unknown version of an entry: {version!r}")


def _identity(text: str, longest: int = _LONGEST_ID, shortest: int = 1) -> str:
    if not shortest <= len(text) <= longest or not text.isascii() or "/" in text:
        raise UnknownEntryError(f"malformed id: {text!r}")
    return text


def _moment(text: str) -> int:
    moment = int(text)
    if not 0 <= moment <= _LAST_MS:
        raise UnknownEntryError(f"not a moment in milliseconds: {text!r}")
    return moment


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count < 2**48:
        raise UnknownEntryError(f"not a count: {text!r}")
    return count


def _reason(text: str) -> str:
    if text not in _REASONS:
        raise UnknownEntryError(f"unknown reason: {text!r}")
    return text
