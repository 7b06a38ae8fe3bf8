"""What the product asks of its two databases. Calls block: asynchronous code makes them on the store's `thread`.

Every write is idempotent and one transaction: repeating it changes nothing. Errors raised:
`shared.errors.DependencyUnavailableError("sql")` (worth a retry) and `shared.errors.StoreError` (not).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.activity import ActivityHour, Counts
from shared.domain.alert import AnnouncedAlert
from shared.domain.directory import Directory
from shared.domain.facility import FacilityChange, FacilityState, FacilityStatus
from shared.domain.session import EndedSession
from shared.domain.uptime import Span
from shared.store.threads import StoreThread


@dataclass(frozen=True, slots=True)
class EndedId:
    """A session ended by command: nothing brings it back before `until`."""

    user_id: str
    session_id: str
    until: int


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a facility as the history keeps it."""

    version: int
    status: FacilityStatus
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class StaleMark:
    """The pipeline became stale at `at`, for this `cause`, or current again (`stale` false) after `began`.

    Without `began` whatever is open ends, so that only the order in which such marks are recorded tells what that is.
    """

    stale: bool
    at: int
    cause: str = ""
    began: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a facility belongs; `member`: the user asked about has a facility in that region."""

    region_id: str
    member: bool


@dataclass(frozen=True, slots=True)
class RegionPlaces:
    """The facilities of a region; `member`: the user asked about has one of them."""

    facility_ids: tuple[str, ...]
    member: bool


class MonitorStore(Protocol):
    """The private database: status, history, session log."""

    @property
    def thread(self) -> StoreThread:
        """Where asynchronous code makes the calls; closed with the store."""

    def migrate(self) -> list[str]:
        """Applies the numbered migrations that are missing, once even if started twice at once; returns their names.

        Raises StoreError if the database has a migration that this code does not know.
        """

    def record_changes(
        self,
        changes: Sequence[FacilityChange],
        marks: Sequence[StaleMark] = (),
        alerts: Sequence[AnnouncedAlert] = (),
    ) -> int:
        """Appends changes to the history, moves `facility_status` up to the newest; returns the rows that were new.

        Keeps when the pipeline was stale, and the newest announcement of each facility and state, too. Any order and
        any repetition give the same rows. A removal is in the history, so that no version is missing there, but it is
        no state of a facility; what was told again is there with the reason `joined`.
        """

    def raise_states(self, states: Sequence[FacilityState]) -> None:
        """Moves `facility_status` up to these states where they are newer; their transitions are not in the history.

        For versions that jumped after a loss of Redis data, so that a second loss cannot bring them back.
        """

    def log_sessions(self, ended: Sequence[EndedSession]) -> int:
        """Appends ended sessions to the session log; returns the rows that were new."""

    def announced_alerts(self) -> list[AnnouncedAlert]:
        """Returns the newest announcement of each facility and state."""

    def facility_states(self) -> list[FacilityState]:
        """Returns the newest recorded state of every facility that has ever been online (sessions = 0)."""

    def remember_ended_ids(self, ended: Sequence[EndedId]) -> None:
        """Keeps sessions ended by command, so that they stay ended when Redis loses its data."""

    def ended_ids(self, now: int) -> list[EndedId]:
        """Returns those whose time is not over."""

    def record_activity(self, hours: Sequence[ActivityHour]) -> int:
        """Keeps what was counted in hours of facilities; returns the rows that were new or newer.

        Numbers are absolute: any order and any repetition give the same rows.
        """

    def prune(self, *, history_before: int, activity_before: int, sessions_before: int, now: int, limit: int) -> int:
        """Deletes at most `limit` rows per table that are older than the given instants; returns how many went.

        The history row that is in force at `history_before` is kept: what follows can be told from it.
        """

    def ping(self) -> None:
        """Returns if the database answers."""

    def close(self) -> None:
        """Closes the connection; the next call opens another."""


class HistoryStore(Protocol):
    """What the API reads of the private database."""

    @property
    def thread(self) -> StoreThread:
        """Where asynchronous code makes the calls; closed with the store."""

    def transitions(self, facility_id: str, span: Span, *, before: int, limit: int) -> list[Transition]:
        """Returns a facility's transitions from `span.start` to `span.end`, both included, newest first.

        Of those at `span.end` only versions below `before`; at most `limit`.
        """

    def known_since(self, facility_id: str) -> int | None:
        """Returns the instant before which the facility's state is not recorded any more; None: it is known always."""

    def online_time(self, facility_id: str, spans: Sequence[Span]) -> dict[int, int]:
        """Returns the milliseconds online by the start of each span, none where it is 0.

        The newest state lasts until the latest end of the spans.
        """

    def stale_periods(self, span: Span) -> list[Span]:
        """Returns the stale periods that overlap `span`; one that lasts ends with it."""

    def activity(self, facility_id: str, span: Span) -> list[ActivityHour]:
        """Returns the recorded hours of a facility that begin in `span`."""

    def activity_sums(self, facility_ids: Sequence[str], span: Span) -> dict[int, Counts]:
        """Returns what was counted at these facilities together, by the start of each hour that begins in `span`."""

    def close(self) -> None:
        """Closes the connection; the next call opens another."""


class CoreStore(Protocol):
    """The core database: the directory, and each facility's connectivity."""

    @property
    def thread(self) -> StoreThread:
        """Where asynchronous code makes the calls; closed with the store."""

    def migrate(self) -> list[str]:
        """Creates the tables that are absent, with their indexes; returns the names of what was applied.

        Existing tables are not touched.

        Raises StoreError naming every column that an existing table lacks.
        """

    def directory_fingerprint(self) -> str:
        """Returns a text that changes when the directory does and not with connectivity, cheaper than reading it."""

    def read_directory(self) -> Directory:
        """Returns the directory; rows that point nowhere or have an id no API can carry are left out and logged."""

    def find_facility(self, facility_id: str, user_id: str) -> Place | None:
        """Returns where a facility belongs and whether a user belongs there too; None for an unknown facility."""

    def find_region(self, region_id: str, user_id: str) -> RegionPlaces | None:
        """Returns a region's facilities and whether one of them is a user's; None for an unknown region."""

    def replace_directory(self, directory: Directory, *, keep_missing: frozenset[str] = frozenset()) -> int:
        """Makes the directory tables equal to `directory`, keeping connectivity columns; returns the rows changed.

        Tables named in `keep_missing` lose no row, nor do others lose a row that a kept one refers to.
        """

    def update_connectivity(self, changes: Sequence[FacilityChange]) -> int:
        """Writes status, since and version of changed facilities, never an older version; returns the rows changed.

        Unknown facilities and removals are passed over.
        """

    def ping(self) -> None:
        """Returns if the database answers."""

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
