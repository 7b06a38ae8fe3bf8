"""The minute monitor: what the streams hold goes to SQL, what SQL holds of the directory goes to Redis."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from shared import metrics, telemetry
from shared.broadcast.broadcaster import Broadcaster
from shared.domain.alert import AnnouncedAlert
from shared.domain.facility import FacilityChange
from shared.domain.session import EndedSession
from shared.errors import PulseError
from shared.pipeline.activity import ActivityFold
from shared.pipeline.agent_upkeep import AgentUpkeep
from shared.pipeline.bounds import StreamBounds
from shared.pipeline.projections import Projection, connectivity, history_record, newest
from shared.pipeline.recovery import Recovery
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryPublisher
from shared.registry.ended_ids import KEEP_MS
from shared.registry.lease import Lease
from shared.registry.registry import Registry
from shared.store.ports import CoreStore, EndedId, MonitorStore, StaleMark
from shared.stream.deaths import DeathWatch
from shared.stream.entries import UnknownEntryError, parse_ended
from shared.stream.group import CORE, SQL, Entry, StreamGroup
from shared.stream.setting_aside import SettingAside

logger = logging.getLogger(__name__)

_LEASE_MS = 10_000
PATIENCE_SECONDS = 20.0
"""How long what asks no database waits for the databases' steps."""
PRUNE_LIMIT = 5_000
"""Rows of each table that one pruning deletes at most."""
PRUNE_EVERY = 3600 * 1000
"""Milliseconds between prunings that find little. Each looks at every facility's history: what is in force stays in it,
however old."""
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
        self._registry = registry
        self._publisher = publisher
        self._monitor = monitor_store
        self._core = core_store
        self._recovery = recovery
        self._broadcaster = broadcaster
        self._agent_upkeep = agent_upkeep
        self._activity = activity
        self._retention = retention
        self._now = now
        self._lease = Lease(client, keys.MONITOR_LEASE, _LEASE_MS)
        change_streams = [partition.changes for partition in keys.ALL_PARTITIONS]
        ended_streams = [partition.ended for partition in keys.ALL_PARTITIONS]

        def projection[T](
            name: str,
            streams: Sequence[str],
            parse: Callable[[Mapping[str, str]], T | None],
            apply: Callable[[Sequence[T]], Awaitable[int]],
        ) -> Projection[T]:
            group = StreamGroup(client, name, streams)
            aside = SettingAside(client, group, dead_letters, self._let_go)
            deaths = DeathWatch(client, name, aside)
            # In the customer's database a trigger or a constraint of theirs may mind whatever is new.
            return Projection(group, parse, apply, aside, deaths, self._lease, repeats_prove=name == SQL)

        self._history: Projection[FacilityChange | StaleMark | AnnouncedAlert] = projection(
            SQL, change_streams, history_record, self._record
        )
        self._connectivity = projection(CORE, change_streams, connectivity, self._update_connectivity)
        self._session_log = projection(SQL, ended_streams, parse_ended, self._log_sessions)
        self._bounds = StreamBounds(client, registry, now)
        self._migrated: set[str] = set()
        self._ended_ids_saved = 0
        self._pruned_at = 0

    async def run(self) -> MonitorResult:
        """Does one round; returns what it moved.

        1. The core database: its directory is published if it changed, and each facility's newest change written.
        2. The private database: status changes, ended sessions (which only then leave Redis), sessions ended by
           command, what was counted of facilities; what is old is pruned.
        3. Users whom the directory moved are told of; agents are compared with the sessions.
        4. Streams are trimmed and watched; what is online is counted.
        Neither database waits for the other; 3 and 4 wait for both, so that what these have taken is trimmed, but not
        for one that hangs. A step that fails keeps no other from its turn; the first failure is raised at the end.
        Raises DependencyUnavailableError or StoreError; nothing is acknowledged before SQL has committed it.
        """
        if not await self._lease.acquire():
            return MonitorResult()
        steps = _Steps()
        try:
            async with self._lease.kept(), asyncio.TaskGroup() as together:
                core = together.create_task(self._serve_core_database(steps))
                own = together.create_task(self._serve_own_database(steps))
                await asyncio.wait([core, own], timeout=PATIENCE_SECONDS)
                together.create_task(steps.run("agents", self._agent_upkeep.run(), otherwise=0))
                together.create_task(steps.run("streams", self._bounds.keep(), otherwise=None))
                together.create_task(steps.run("census", self._count_sessions(), otherwise=None))
        finally:
            await self._lease.release()
        directory, (changes, sessions) = core.result(), own.result()
        result = MonitorResult(changes, sessions, directory)
        if changes or sessions or directory:
            telemetry.event("monitor.moved", changes=changes, sessions=sessions, directory=directory)
        if steps.failure is not None:
            raise steps.failure
        return result

    async def _serve_core_database(self, steps: "_Steps") -> bool:
        """Returns whether there is another directory."""
        if not await steps.run("core database", self._prepare("core", self._core), otherwise=False):
            return False
        directory = await steps.run("directory", self.refresh_directory(), otherwise=False)
        await steps.run("connectivity", self._connectivity.run(), otherwise=0)
        return directory

    async def _serve_own_database(self, steps: "_Steps") -> tuple[int, int]:
        """Returns how many changes and sessions it took."""
        if not await steps.run("own database", self._prepare("monitor", self._monitor), otherwise=False):
            return 0, 0
        await steps.run("recovery", self._recovery.ensure(), otherwise=None)
        changes = await steps.run("history", self._history.run(), otherwise=0)
        sessions = await steps.run("session log", self._session_log.run(), otherwise=0)
        await steps.run("activity", self._activity.run(self._lease.renew), otherwise=0)
        await steps.run("ended sessions", self._keep_ended_ids(), otherwise=None)
        await steps.run("pruning", self._prune(), otherwise=None)
        return changes, sessions

    async def refresh_directory(self) -> bool:
        """Publishes the core database's directory if it differs from what is in force; returns whether it did."""
        # Those that an earlier run did not come to.
        await self._announce_departures()
        fingerprint = await self._core.thread.run(self._core.directory_fingerprint)
        if fingerprint == await self._publisher.fingerprint():
            return False
        directory = await self._core.thread.run(self._core.read_directory)
        await self._publisher.publish(directory, fingerprint)
        await self._announce_departures()
        return True

    async def _announce_departures(self) -> None:
        departures = await self._publisher.departures()
        if not departures:
            return
        arrivals = [each.facility_id for each in departures if not each.region_id]
        # Of many new facilities at once there is nothing to tell.
        unheard = {state.facility_id for state in await self._registry.facility_states(arrivals) if not state.since}
        departures = [each for each in departures if each.region_id or each.facility_id not in unheard]
        await self._registry.depart(departures, self._now())
        await self._publisher.departed()
        self._broadcaster.wake()

    async def _prepare(self, role: str, store: CoreStore | MonitorStore) -> bool:
        if role not in self._migrated:
            await store.thread.run(store.migrate)
            self._migrated.add(role)
        return True

    async def _record(self, records: Sequence[FacilityChange | StaleMark | AnnouncedAlert]) -> int:
        changes = [record for record in records if isinstance(record, FacilityChange)]
        marks = [record for record in records if isinstance(record, StaleMark)]
        alerts = [record for record in records if isinstance(record, AnnouncedAlert)]
        return await self._monitor.thread.run(self._monitor.record_changes, changes, marks, alerts)

    async def _update_connectivity(self, changes: Sequence[FacilityChange]) -> int:
        return await self._core.thread.run(self._core.update_connectivity, newest(changes))

    async def _log_sessions(self, sessions: Sequence[EndedSession]) -> int:
        logged = await self._monitor.thread.run(self._monitor.log_sessions, sessions)
        await self._registry.purge(sessions)
        return logged

    async def _let_go(self, entry: Entry) -> None:
        """Has the value of an ended session leave Redis; nothing else would, once its entry is set aside."""
        try:
            session = parse_ended(entry.fields)
        except UnknownEntryError:
            # Of no session, or of none that could be named.
            return
        await self._registry.purge([session])

    async def _keep_ended_ids(self) -> None:
        blocked = await self._registry.blocked(self._ended_ids_saved)
        if blocked:
            rows = [EndedId(user_id, session_id, until) for user_id, session_id, until in blocked]
            await self._monitor.thread.run(self._monitor.remember_ended_ids, rows)
            # A minute's overlap: clocks differ between the processes that end sessions.
            self._ended_ids_saved = max(row.until for row in rows) - 60_000
        await self._registry.unblock(self._now())

    async def _count_sessions(self) -> None:
        metrics.counted(await self._registry.count_online(self._now()))

    async def _prune(self) -> None:
        now = self._now()
        # Where the clock was set back it is looked again.
        if 0 <= now - self._pruned_at < PRUNE_EVERY:
            return
        pruned = await self._monitor.thread.run(
            lambda: self._monitor.prune(
                history_before=now - self._retention.history_days * _DAY_MS,
                activity_before=now - self._retention.activity_days * _DAY_MS,
                sessions_before=now - self._retention.session_log_days * _DAY_MS,
                now=now - KEEP_MS,
                limit=PRUNE_LIMIT,
            )
        )
        # No table gave all that it may at once: nothing is left to go.
        if pruned < PRUNE_LIMIT:
            self._pruned_at = now


class _Steps:
    """Runs steps, whatever becomes of the others."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def run[T](self, name: str, step: Awaitable[T], *, otherwise: T) -> T:
        """Returns what the step does, or `otherwise` when it fails."""
        try:
            return await step
        except PulseError as error:
            logger.warning("monitor: %s not finished, the next run goes on: %s", name, error)
            self.failure = self.failure or error
        except Exception as error:
            logger.exception("monitor: %s not finished", name)
            self.failure = self.failure or error
        return otherwise
