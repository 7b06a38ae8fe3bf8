"""What the stream of changes carries, parsed."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.domain.agent import PresenceEvent, PresenceKind, RegionMove
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.session import EndedSession, EndReason


class UnknownEntryError(ValueError):
    """An entry that this code does not understand; it is to be set aside, never to be skipped silently."""


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """A facility's change; `region_id` is given where it is not the facility's present region."""

    change: FacilityChange
    region_id: str | None = None


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """The pipeline became stale, and why, or current again; for every region."""

    stale: bool
    since: int
    cause: str = "stalled"


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


def parse_change(fields: Mapping[str, str]) -> StatusEntry | StaleEntry:
    """Returns the entry of a `changes` stream. Raises UnknownEntryError."""
    try:
        match fields["kind"]:
            case "status":
                change = FacilityChange(
                    facility_id=fields["facility"],
                    status=FacilityStatus(fields["status"]),
                    since=int(fields["since"]),
                    version=int(fields["version"]),
                    sessions=int(fields["sessions"]),
                    reason=fields["reason"],
                )
                return StatusEntry(change, fields.get("region"))
            case "stale":
                return StaleEntry(fields["stale"] == "1", int(fields["since"]), fields.get("cause", "stalled"))
            case kind:
                raise UnknownEntryError(f"unknown kind of change: {kind!r}")
    except (KeyError, ValueError) as error:
        if isinstance(error, UnknownEntryError):
            raise
        raise UnknownEntryError(f"malformed change: {error!r}") from error


def parse_ended(fields: Mapping[str, str]) -> EndedSession:
    """Returns the entry of an `ended` stream. Raises UnknownEntryError."""
    try:
        user_id, separator, session_id = fields["id"].partition("/")
        if not separator:
            raise UnknownEntryError(f"malformed session id: {fields['id']!r}")
        return EndedSession(
            user_id=user_id,
            session_id=session_id,
            facility_id=fields["facility"],
            started_at=int(fields["started"]),
            ended_at=int(fields["ended"]),
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
