"""What the product asks of its two databases. Calls block: run them in a thread from asynchronous code.

Every write is idempotent and one transaction: repeating it changes nothing. Errors raised:
`shared.errors.DependencyUnavailableError("sql")` (worth a retry) and `shared.errors.StoreError` (not).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.directory import Directory
from shared.domain.facility import FacilityChange, FacilityState
from shared.domain.session import EndedSession


@dataclass(frozen=True, slots=True)
class EndedId:
    """A session ended by command: nothing brings it back before `until`."""

    user_id: str
    session_id: str
    until: int


class MonitorStore(Protocol):
    """The private database: status, history, session log."""

    def migrate(self) -> list[str]:
        """Applies the numbered migrations that are missing, once even if started twice at once; returns their names.

        Raises StoreError if the database has a migration that this code does not know.
        """

    def record_changes(self, changes: Sequence[FacilityChange]) -> int:
        """Appends changes to the history, moves `facility_status` up to the newest; returns the rows that were new."""

    def log_sessions(self, ended: Sequence[EndedSession]) -> int:
        """Appends ended sessions to the session log; returns the rows that were new."""

    def facility_states(self) -> list[FacilityState]:
        """Returns the newest recorded state of every facility that has ever been online (sessions = 0)."""

    def remember_ended_ids(self, ended: Sequence[EndedId]) -> None:
        """Keeps sessions ended by command, so that they stay ended when Redis loses its data."""

    def ended_ids(self, now: int) -> list[EndedId]:
        """Returns those whose time is not over."""

    def prune(self, *, history_before: int, sessions_before: int, now: int, limit: int) -> int:
        """Deletes at most `limit` rows per table that are older than the given instants; returns how many went.

        The newest history row of a facility is always kept.
        """

    def ping(self) -> None:
        """Returns if the database answers."""


class CoreStore(Protocol):
    """The core database: the directory, and each facility's connectivity."""

    def migrate(self) -> list[str]:
        """As for the private database; creates the tables where they are absent and never changes existing ones."""

    def directory_fingerprint(self) -> str:
        """Returns a text that changes when the directory does, cheaper than reading it."""

    def read_directory(self) -> Directory:
        """Returns the directory; rows that point nowhere are left out and logged."""

    def replace_directory(self, directory: Directory, *, keep_missing: frozenset[str] = frozenset()) -> int:
        """Makes the directory tables equal to `directory`, keeping connectivity columns; returns the rows changed.

        Tables named in `keep_missing` lose no row.
        """

    def update_connectivity(self, changes: Sequence[FacilityChange]) -> int:
        """Writes status, since and version of changed facilities, never an older version; returns the rows changed."""

    def ping(self) -> None:
        """Returns if the database answers."""
