"""The private database: what happened to facilities and sessions."""

import time
from collections.abc import Callable, Mapping, Sequence

from shared.domain.activity import ActivityHour
from shared.domain.alert import AlertState, AnnouncedAlert
from shared.domain.facility import FacilityChange, FacilityState, FacilityStatus
from shared.domain.instants import from_iso, to_iso
from shared.domain.session import EndedSession
from shared.store.activity_rows import activity_row
from shared.store.database import Database, Record, Transaction
from shared.store.migrating import apply_missing
from shared.store.ports import EndedId, StaleMark

JOINED = "joined"
"""The history's reason where a facility came to a region and nothing else changed; `read_history` leaves it out."""
_ROLE = "monitor"


def _clock() -> int:
    return time.time_ns() // 1_000_000


class SqlMonitorStore:
    """`MonitorStore` in either dialect."""

    def __init__(self, database: Database, *, now: Callable[[], int] = _clock) -> None:
        self._database = database
        self.thread = database.thread
        self._now = now

    def migrate(self) -> list[str]:
        """Applies the migrations that are missing."""
        return apply_missing(self._database, _ROLE, self._now)

    def record_changes(
        self,
        changes: Sequence[FacilityChange],
        marks: Sequence[StaleMark] = (),
        alerts: Sequence[AnnouncedAlert] = (),
    ) -> int:
        """Appends transitions, raises each facility's state to its newest, keeps stale periods and newest alerts."""
        history: dict[tuple[str, int], Record] = {}
        newest: dict[str, FacilityChange] = {}
        for change in changes:
            reason = JOINED if change.again else change.reason
            history.setdefault((change.facility_id, change.version), {**_transition(change), "reason": reason})
            if change.status is FacilityStatus.REMOVED:
                continue
            held = newest.get(change.facility_id)
            if held is None or change.version > held.version:
                newest[change.facility_id] = change
        announced = {(alert.facility_id, alert.state): alert for alert in sorted(alerts, key=lambda each: each.at)}
        if not (history or marks or announced):
            return 0

        def work(transaction: Transaction) -> int:
            added = transaction.write("append_history", history.values())
            transaction.write("raise_status", (_transition(change) for change in newest.values()))
            for mark in marks:
                _note_stale(transaction, mark)
            transaction.write("record_alerts", (_announcement(alert) for alert in announced.values()))
            return added

        return self._database.run(_ROLE, work, writing=True)

    def raise_states(self, states: Sequence[FacilityState]) -> None:
        """Raises each facility's state without a transition."""
        rows: list[Record] = [
            {
                "facility_id": state.facility_id,
                "version": state.version,
                "status": state.status.value,
                "at": to_iso(state.since),
                "reason": state.reason,
            }
            for state in states
            if state.since is not None and state.reason is not None
        ]
        if rows:
            self._database.run(_ROLE, lambda t: t.write("raise_status", rows), writing=True)

    def log_sessions(self, ended: Sequence[EndedSession]) -> int:
        """Appends ended sessions."""
        rows: dict[tuple[str, str, str, int], Record] = {}
        for session in ended:
            key = (session.user_id, session.session_id, session.facility_id, session.started_at)
            rows.setdefault(
                key,
                {
                    "user_id": session.user_id,
                    "session_id": session.session_id,
                    "facility_id": session.facility_id,
                    "started_at": to_iso(session.started_at),
                    "ended_at": to_iso(session.ended_at),
                    "reason": session.reason.value,
                },
            )
        if not rows:
            return 0
        return self._database.run(_ROLE, lambda t: t.write("log_sessions", _in_order(rows)), writing=True)

    def announced_alerts(self) -> list[AnnouncedAlert]:
        """Reads every newest announcement."""

        def work(transaction: Transaction) -> list[AnnouncedAlert]:
            return [
                AnnouncedAlert(facility_id, AlertState(state), from_iso(since), from_iso(at))
                for facility_id, state, since, at in transaction.read("read_alerts")
            ]

        return self._database.run(_ROLE, work)

    def facility_states(self) -> list[FacilityState]:
        """Reads every recorded state."""

        def work(transaction: Transaction) -> list[FacilityState]:
            return [
                FacilityState(facility_id, FacilityStatus(status), from_iso(since), version, reason=reason)
                for facility_id, status, since, version, reason in transaction.read("read_states")
            ]

        return self._database.run(_ROLE, work)

    def remember_ended_ids(self, ended: Sequence[EndedId]) -> None:
        """Keeps ended session ids; where one is named twice the later time counts."""
        until: dict[tuple[str, str], int] = {}
        for entry in ended:
            key = (entry.user_id, entry.session_id)
            until[key] = max(entry.until, until.get(key, entry.until))
        if not until:
            return
        rows = [
            {"user_id": user_id, "session_id": session_id, "until_at": to_iso(instant)}
            for (user_id, session_id), instant in until.items()
        ]
        self._database.run(_ROLE, lambda t: t.write("remember_ended_ids", rows), writing=True)

    def ended_ids(self, now: int) -> list[EndedId]:
        """Reads the ended session ids still in force."""

        def work(transaction: Transaction) -> list[EndedId]:
            rows = transaction.read("read_ended_ids", {"now": to_iso(now)})
            return [EndedId(user_id, session_id, from_iso(until)) for user_id, session_id, until in rows]

        return self._database.run(_ROLE, work)

    def record_activity(self, hours: Sequence[ActivityHour]) -> int:
        """Keeps what was counted."""
        rows: dict[tuple[str, int, int], Record] = {}
        for hour in sorted(hours, key=lambda one: one.counts.total):
            rows[hour.facility_id, hour.start, hour.epoch] = activity_row(hour)
        if not rows:
            return 0
        return self._database.run(_ROLE, lambda t: t.write("record_activity", _in_order(rows)), writing=True)

    def prune(self, *, history_before: int, activity_before: int, sessions_before: int, now: int, limit: int) -> int:
        """Deletes rows past their retention."""

        def work(transaction: Transaction) -> int:
            return (
                transaction.change("prune_history", {"before": to_iso(history_before), "limit": limit})
                + transaction.change("prune_activity", {"before": to_iso(activity_before), "limit": limit})
                + transaction.change("prune_sessions", {"before": to_iso(sessions_before), "limit": limit})
                + transaction.change("prune_ended_ids", {"now": to_iso(now), "limit": limit})
            )

        return self._database.run(_ROLE, work, writing=True)

    def ping(self) -> None:
        """Asks once, without retry: the question is how things are now."""
        self._database.run(_ROLE, lambda t: list(t.read("ping")), attempts=1)

    def close(self) -> None:
        """Closes the connection."""
        self._database.close()


def _in_order[K: tuple[str | int, ...]](rows: Mapping[K, Record]) -> list[Record]:
    # Neighbours in a table share a page: where thousands are written it takes SQLite half the time.
    return [rows[key] for key in sorted(rows)]


def _transition(change: FacilityChange) -> Record:
    return {
        "facility_id": change.facility_id,
        "version": change.version,
        "status": change.status.value,
        "at": to_iso(change.since),
        "reason": change.reason,
    }


def _note_stale(transaction: Transaction, mark: StaleMark) -> None:
    at = to_iso(mark.at)
    if mark.stale:
        transaction.write("open_stale", [{"started_at": at, "cause": mark.cause}])
        return
    if mark.began is not None:
        # A clock that was set back meanwhile must not end a period before it began.
        row = {"started_at": to_iso(mark.began), "ended_at": to_iso(max(mark.began, mark.at)), "cause": mark.cause}
        transaction.write("end_stale", [row])
    transaction.change("close_stale", {"began_by": at if mark.began is None else to_iso(mark.began), "ended_at": at})


def _announcement(alert: AnnouncedAlert) -> Record:
    return {
        "facility_id": alert.facility_id,
        "state": alert.state.value,
        "since": to_iso(alert.since),
        "announced_at": to_iso(alert.at),
    }
