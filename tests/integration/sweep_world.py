"""Ingest, sweep and recovery on a real Redis server and a real SQLite store, under a clock that the test moves."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from shared.alerts.alerts import Alerts, AlertTiming
from shared.broadcast.broadcaster import Broadcaster
from shared.domain.heartbeat import Heartbeat
from shared.domain.pipeline import PipelineState, PipelineTiming
from shared.domain.session import SessionTiming
from shared.domain.silence import SilenceTiming
from shared.errors import DependencyUnavailableError
from shared.pipeline.agents import AgentFollower
from shared.pipeline.recovery import Recovery
from shared.pipeline.silence import SilenceWatch
from shared.pipeline.sweep import SessionSweep
from shared.registry import keys
from shared.registry.directory_cache import DirectoryCache
from shared.registry.registry import Registry
from shared.registry.results import SweepResult
from shared.registry.sequences import Sequences
from shared.registry.watermarks import IN_FLIGHT, Watermarks
from shared.store.opening import open_monitor_store
from tests.redis_server import stream_rows

START = 1_795_000_000_000
HUB_PARTITIONS = ("0", "1")
Transition = tuple[str, str, int]
"""(facility, status, since - START)"""


class Browsers(Broadcaster):
    """Nobody listens; what would be sent stays in the streams."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class NoAgents(AgentFollower):
    """Nobody looks at agents either."""

    def __init__(self) -> None:
        pass

    def wake(self) -> None:
        pass


class Pipe:
    """Event Hubs with ingestion behind it: canaries come back at once, or not at all."""

    def __init__(self, watermarks: Watermarks) -> None:
        self._watermarks = watermarks
        self.is_open = True

    async def partition_ids(self) -> Collection[str]:
        return HUB_PARTITIONS

    async def send_canaries(self, now: int, mark: tuple[int, int] = (0, 0)) -> Mapping[str, int]:
        if not self.is_open:
            raise DependencyUnavailableError("eventHubs", "closed by the test")
        sent = dict.fromkeys(HUB_PARTITIONS, now)
        await self._watermarks.record(sent)
        return sent


class World:
    """One process's view; several may share a Redis server, a store and a clock."""

    def __init__(
        self, client: Redis, store: Path, clock: list[int], timing: PipelineTiming, silence: SilenceTiming
    ) -> None:
        self.client = client
        self._clock = clock
        self.registry = Registry(client, SessionTiming(timing.ttl, 5_000))
        self.watermarks = Watermarks(client)
        self.store = open_monitor_store(f"sqlite:///{store}")
        self.browsers = Browsers()
        self.pipe = Pipe(self.watermarks)
        self.directories_published = 0
        alerts = Alerts(client, DirectoryCache(client), AlertTiming(300_000, 3_600_000), None)
        self.recovery = Recovery(
            client,
            self.registry,
            self.watermarks,
            Sequences(client, self.now),
            alerts,
            self.store,
            self._publish_directory,
            self.now,
        )
        self.silence = silence
        watch = SilenceWatch(self.registry, silence)
        self.sweeper = SessionSweep(
            client,
            self.registry,
            self.watermarks,
            self.pipe,
            self.recovery,
            self.browsers,
            NoAgents(),
            alerts,
            timing,
            watch,
            self.now,
        )

    def now(self) -> int:
        return self._clock[0]

    async def _publish_directory(self) -> None:
        self.directories_published += 1

    @property
    def time(self) -> int:
        """Milliseconds since START."""
        return self.now() - START

    async def at(self, time: int) -> SweepResult:
        """Moves the clock to `time` ms after START and sweeps."""
        self._clock[0] = START + time
        return await self.sweeper.run()

    async def until(self, time: int, step: int = 1_000) -> None:
        """Sweeps every `step` ms up to `time`."""
        while self.time < time:
            await self.at(min(time, self.time + step))

    async def hear(self, sessions: Iterable[tuple[str, str]], *, leaving: bool = False) -> None:
        """Ingests a beat of each (facility, user), received now (and so before the next watermark)."""
        at = self.now() - IN_FLIGHT
        await self.registry.ingest([(f, Heartbeat(user, "s", at, leaving=leaving)) for f, user in sessions])

    async def state(self) -> PipelineState:
        return await self.watermarks.load()

    async def transitions(self) -> list[Transition]:
        rows = [row for each in keys.ALL_PARTITIONS for row in await stream_rows(self.client, each.changes)]
        return sorted((r["facility"], r["status"], int(r["since"]) - START) for r in rows if r["kind"] == "status")

    async def offline(self) -> list[Transition]:
        return [each for each in await self.transitions() if each[1] == "offline"]

    async def announced(self) -> list[tuple[bool, int]]:
        """(stale, since - START) as announced, in order."""
        rows = await stream_rows(self.client, keys.CONTROL_STREAM)
        return [(r["stale"] == "1", int(r["since"]) - START) for r in rows if r["kind"] == "stale"]


@asynccontextmanager
async def opened(
    client: Redis, directory: Path, *, ttl: int = 9_000, hold: int = 60_000, min_sessions: int = 20
) -> AsyncIterator[World]:
    """A first start at START, its first sweep done."""
    clock = [START]
    timing = PipelineTiming(stale_after=3_000, ttl=ttl)
    silence = SilenceTiming(ttl, hold, min_sessions=min_sessions)
    world = World(client, directory / "monitor.db", clock, timing, silence)
    try:
        await world.at(0)
        yield world
    finally:
        await world.sweeper.close()
        world.store.close()
