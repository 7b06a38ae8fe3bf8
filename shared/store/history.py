"""What the API reads from the private database: history, uptime, stale periods."""

from collections.abc import Callable, Sequence

from shared.domain.activity import ActivityHour, Counts
from shared.domain.facility import FacilityStatus
from shared.domain.instants import from_iso, to_iso
from shared.domain.uptime import Span
from shared.store.activity_rows import activity_hour
from shared.store.database import Database, Transaction
from shared.store.migrating import apply_missing
from shared.store.ports import Transition

_ROLE = "monitor"
_ATTEMPTS = 2
"""A caller waits: only a connection that died while idle is worth another try."""


class SqlHistoryStore:
    """`HistoryStore` in either dialect. It has a connection of its own: what the monitor writes holds nobody up."""

    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database = database
        self.thread = database.thread
        self._now = now
        self._migrated = False

    def transitions(self, facility_id: str, span: Span, *, before: int, limit: int) -> list[Transition]:
        """Reads one page."""
        page = {
            "facility_id": facility_id,
            "start": to_iso(span.start),
            "end": to_iso(span.end),
            "before": before,
            "limit": limit,
        }
        return self._run(
            lambda t: [
                Transition(version, FacilityStatus(status), from_iso(at), reason)
                for version, status, at, reason in t.read("read_history", page)
            ]
        )

    def known_since(self, facility_id: str) -> int | None:
        """Reads the oldest transition: only the first one of all, version 1, says what was before it."""

        def work(transaction: Transaction) -> int | None:
            for version, at in transaction.read("read_oldest", {"facility_id": facility_id}):
                return None if version == 1 else from_iso(at)
            return None

        return self._run(work)

    def online_time(self, facility_id: str, spans: Sequence[Span]) -> dict[int, int]:
        """Adds up the time online."""
        if not spans:
            return {}
        order = {
            "facility_id": facility_id,
            "start": to_iso(min(span.start for span in spans)),
            "end": to_iso(max(span.end for span in spans)),
            "spans": [{"start": to_iso(span.start), "end": to_iso(span.end)} for span in spans],
        }
        return self._run(
            lambda t: {from_iso(start): int(online) for start, online in t.read("read_online_spans", order)}
        )

    def stale_periods(self, span: Span) -> list[Span]:
        """Reads the stale periods."""
        order = {"start": to_iso(span.start), "end": to_iso(span.end)}
        return self._run(
            lambda t: [
                Span(from_iso(start), span.end if end is None else from_iso(end))
                for start, end in t.read("read_stale", order)
            ]
        )

    def activity(self, facility_id: str, span: Span) -> list[ActivityHour]:
        """Reads the hours."""
        order = {"facility_id": facility_id, "start": to_iso(span.start), "end": to_iso(span.end)}
        return self._run(lambda t: [activity_hour(facility_id, *row) for row in t.read("read_activity", order)])

    def activity_sums(self, facility_ids: Sequence[str], span: Span) -> dict[int, Counts]:
        """Adds up the hours."""
        order = {"facilities": list(facility_ids), "start": to_iso(span.start), "end": to_iso(span.end)}
        return self._run(
            lambda t: {
                from_iso(start): Counts(*map(int, counts)) for start, *counts in t.read("read_activity_sums", order)
            }
        )

    def close(self) -> None:
        """Closes the connection."""
        self._database.close()

    def _run[T](self, work: Callable[[Transaction], T]) -> T:
        if not self._migrated:
            # The first call may come before the first monitor run. Asked before: whether anybody answers at all.
            self._database.run(_ROLE, lambda t: list(t.read("ping")), attempts=1)
            apply_missing(self._database, _ROLE, self._now)
            self._migrated = True
        return self._database.run(_ROLE, work, attempts=_ATTEMPTS)
