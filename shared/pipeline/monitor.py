"""The minute monitor: what the streams hold goes to SQL, what SQL holds of the directory goes to Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from shared import metrics, telemetry
from shared.broadcast.broadcaster import Broadcaster
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.session import EndedSession
from shared.pipeline.activity import ActivityFold
from shared.pipeline.agent_upkeep import AgentUpkeep
from shared.pipeline.recovery import Recovery
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryPublisher
from shared.registry.ended_ids import KEEP_MS
from shared.registry.lease import Lease
from shared.registry.registry import Registry
from shared.store.ports import CoreStore, EndedId, MonitorStore, StaleMark
from shared.stream.entries import StaleEntry, StatusEntry, UnknownEntryError, parse_change, parse_ended
from shared.stream.group import BROADCAST, SQL, Entry, StreamGroup, trim

_LEASE_MS = 30_000
_READ = 500
"""Entries read per stream at once; also what one SQL transaction holds, times the partitions."""
_PRUNE_LIMIT = 5_000
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """What a run moved."""

    changes: int = 0
    sessions: int = 0
    directory: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept, in days."""

    history_days: int
    activity_days: int
    session_log_days: int


class SessionMonitor:
    """One run at a time over all processes, by lease. A run that fails is finished by the next one."""

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        publisher: DirectoryPublisher,
        monitor_store: MonitorStore,
        core_store: CoreStore,
        dead_letters: DeadLetters,
        recovery: Recovery,
        broadcaster: Broadcaster,
        agent_upkeep: AgentUpkeep,
        activity: ActivityFold,
        retention: Retention,
        now: Callable[[], int],
    ) -> None:
        self._client = client
        self._registry = registry
        self._publisher = publisher
        self._monitor = monitor_store
        self._core = core_store
        self._dead_letters = dead_letters
        self._recovery = recovery
        self._broadcaster = broadcaster
        self._agent_upkeep = agent_upkeep
        self._activity = activity
        self._retention = retention
        self._now = now
        self._lease = Lease(client, keys.MONITOR_LEASE, _LEASE_MS)
        self._change_streams = [partition.changes for partition in keys.ALL_PARTITIONS]
        self._ended_streams = [partition.ended for partition in keys.ALL_PARTITIONS]
        self._changes = StreamGroup(client, SQL, self._change_streams)
        self._ended = StreamGroup(client, SQL, self._ended_streams)
        self._migrated = False
        self._ended_ids_saved = 0

    async def run(self) -> MonitorResult:
        """Does one round; returns what it moved.

        1. The directory is published if it changed.
        2. Status changes go to the private database, the newest of each facility to the core database.
        3. Ended sessions go to the session log, and only then leave Redis.
        4. What was counted of facilities goes to SQL.
        5. Sessions ended by command are kept in SQL too; what is old is pruned; streams are trimmed.
        6. Users whom the directory moved are told of; agents are compared with the sessions.
        Raises DependencyUnavailableError or StoreError; nothing is acknowledged before SQL has committed it.
        """
        if not await self._lease.acquire():
            return MonitorResult()
        try:
            await self._migrate()
            directory = await self.refresh_directory()
            await self._recovery.ensure()
            changes = await self._record_changes()
            sessions = await self._log_sessions()
            await self._activity.run(self._lease.renew)
            await self._keep_ended_ids()
            await self._tidy()
            now = self._now()
            metrics.counted((await self._registry.census(now, now)).online)
            await self._agent_upkeep.run()
        finally:
            await self._lease.release()
        result = MonitorResult(changes, sessions, directory)
        if changes or sessions or directory:
            telemetry.event("monitor.moved", changes=changes, sessions=sessions, directory=directory)
        return result

    async def refresh_directory(self) -> bool:
        """Publishes the core database's directory if it differs from what is in force; returns whether it did."""
        fingerprint = await asyncio.to_thread(self._core.directory_fingerprint)
        if fingerprint == await self._publisher.fingerprint():
            return False
        directory = await asyncio.to_thread(self._core.read_directory)
        departures = await self._publisher.publish(directory, fingerprint)
        if departures:
            await self._registry.depart(departures, self._now())
            self._broadcaster.wake()
        return True

    async def _migrate(self) -> None:
        if not self._migrated:
            await asyncio.to_thread(self._monitor.migrate)
            await asyncio.to_thread(self._core.migrate)
            self._migrated = True

    async def _record_changes(self) -> int:
        recorded = 0
        async for entries in self._batches(self._changes):
            parsed = [(entry, await self._parsed(entry)) for entry in entries]
            changes = [item.change for _, item in parsed if isinstance(item, StatusEntry)]
            if changes:
                recorded += await asyncio.to_thread(self._monitor.record_changes, changes)
                await asyncio.to_thread(self._core.update_connectivity, newest(changes))
            marks = [
                StaleMark(item.stale, item.since, item.cause) for _, item in parsed if isinstance(item, StaleEntry)
            ]
            await asyncio.to_thread(self._monitor.record_stale, marks)
            await self._changes.acknowledge(entries)
        return recorded

    async def _parsed(self, entry: Entry) -> StatusEntry | StaleEntry | None:
        try:
            return parse_change(entry.fields)
        except UnknownEntryError as error:
            await self._set_aside(entry, error)
            return None

    async def _log_sessions(self) -> int:
        logged = 0
        async for entries in self._batches(self._ended):
            sessions: list[EndedSession] = []
            for entry in entries:
                try:
                    sessions.append(parse_ended(entry.fields))
                except UnknownEntryError as error:
                    await self._set_aside(entry, error)
            if sessions:
                logged += await asyncio.to_thread(self._monitor.log_sessions, sessions)
                await self._registry.purge(sessions)
            await self._ended.acknowledge(entries)
        return logged

    async def _batches(self, group: StreamGroup) -> AsyncIterator[list[Entry]]:
        # What an earlier run read and could not finish comes first: it is older.
        while entries := await group.read_pending(_READ):
            yield entries
            await self._lease.renew()
        while entries := await group.read_new(_READ):
            yield entries
            await self._lease.renew()

    async def _keep_ended_ids(self) -> None:
        blocked = await self._registry.blocked(self._ended_ids_saved)
        if blocked:
            rows = [EndedId(user_id, session_id, until) for user_id, session_id, until in blocked]
            await asyncio.to_thread(self._monitor.remember_ended_ids, rows)
            # A minute's overlap: clocks differ between the processes that end sessions.
            self._ended_ids_saved = max(row.until for row in rows) - 60_000
        await self._registry.unblock(self._now())

    async def _tidy(self) -> None:
        now = self._now()
        await asyncio.to_thread(
            lambda: self._monitor.prune(
                history_before=now - self._retention.history_days * _DAY_MS,
                activity_before=now - self._retention.activity_days * _DAY_MS,
                sessions_before=now - self._retention.session_log_days * _DAY_MS,
                now=now - KEEP_MS,
                limit=_PRUNE_LIMIT,
            )
        )
        await trim(self._client, self._change_streams, (BROADCAST, SQL))
        await trim(self._client, self._ended_streams, (SQL,))

    async def _set_aside(self, entry: Entry, error: UnknownEntryError) -> None:
        await self._dead_letters.add("monitor", str(error), repr(entry.fields).encode(), entry=entry.entry_id)


def newest(changes: Sequence[FacilityChange]) -> list[FacilityChange]:
    """Returns each facility's newest change, without those that left the directory."""
    found: dict[str, FacilityChange] = {}
    for change in changes:
        held = found.get(change.facility_id)
        if held is None or held.version < change.version:
            found[change.facility_id] = change
    return [change for change in found.values() if change.status != FacilityStatus.REMOVED]
