"""The pipeline as it is composed, on a real Redis and SQLite files, time and far ends in the test's hand."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any

from redis.asyncio import Redis

from shared.bootstrap import Services, milliseconds
from shared.broadcast.broadcaster import Broadcaster
from shared.broadcast.push import WebPubSubPush
from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.facility import FacilityState
from shared.events.codec import Draft, encode_beat, encode_canary, encode_packet
from shared.events.publisher import HeartbeatPublisher
from shared.pipeline.ingest import StreamEvent
from shared.registry import keys
from shared.registry.client import text
from shared.registry.dead_letters import SOURCES
from shared.registry.results import IngestResult
from shared.settings import Settings
from shared.stream.group import BROADCAST, StreamGroup
from tests.redis_server import stream_rows

TTL, GRACE, STALE_AFTER = 90_000, 5_000, 15_000
# Region r-1 holds f-1 and f-2, r-2 holds f-3; u-1 belongs to f-1, u-2 to f-2, u-9 to f-2 and f-3.
DIRECTORY = Directory(
    regions={"r-1": Region("r-1", "North"), "r-2": Region("r-2", "South")},
    counties={"c-1": County("c-1", "r-1", "One"), "c-2": County("c-2", "r-2", "Two")},
    facilities={f"f-{n}": Facility(f"f-{n}", "c-2" if n == 3 else "c-1", f"Facility {n}") for n in (1, 2, 3)},
    users={"u-1": "One", "u-2": "Two", "u-9": "Nine"},
    facilities_of_user={"u-1": ("f-1",), "u-2": ("f-2",), "u-9": ("f-2", "f-3")},
)


class Recorder(WebPubSubPush):
    """Keeps what would have gone to browsers."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.unnumbered: list[tuple[str, dict[str, Any]]] = []
        self.left: list[tuple[str, list[str], str]] = []

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        if "sequence" in message:
            self.sent.append(message)
        else:
            self.unnumbered.append((group, message))

    async def send_to_user(self, user_id: str, message: dict[str, Any]) -> None:
        self.unnumbered.append((user_id, message))

    async def leave_group(self, group: str, user_ids: Sequence[str], unless_in: str) -> None:
        self.left.append((group, sorted(user_ids), unless_in))


class Hub(HeartbeatPublisher):
    """Event Hubs with two partitions: what is sent to one is ingested at once, unless the partition is held."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.held: set[str] = set()
        self._waiting: dict[str, list[bytes]] = {"0": [], "1": []}

    async def partition_ids(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    async def send_canaries(self, now: int, mark: tuple[int, int] = (0, 0)) -> dict[str, int]:
        for partition in self._waiting:
            await self.send(partition, encode_canary(partition, now, mark))
        if self.held:
            # The sweep waits a while for what will not come; this is that while.
            asyncio.get_running_loop().call_soon(self._world.advance, 400)
        return dict.fromkeys(self._waiting, now)

    async def send(self, partition: str, body: bytes) -> None:
        self._waiting[partition].append(body)
        if partition not in self.held:
            await self.release(partition)

    async def release(self, partition: str) -> None:
        """Lets a partition be ingested, as far as it has been filled."""
        self.held.discard(partition)
        bodies, self._waiting[partition] = self._waiting[partition], []
        await self._world.ingest.apply([StreamEvent(body) for body in bodies])


class World(Services):
    """Services whose clock stands still until it is told to go on. It starts at the real time, since keys expire."""

    time: int
    publisher: Hub
    push: Recorder

    def now(self) -> int:  # type: ignore[override]
        return self.time

    def advance(self, by: int) -> int:
        self.time += by
        return self.time

    async def load_directory(self, directory: Directory = DIRECTORY) -> None:
        """Fills the core database and puts its directory in force, as the loader does."""
        self.core_store.migrate()
        self.core_store.replace_directory(directory)
        await self.monitor.refresh_directory()

    async def beat(
        self, user: str, session: str = "s", *, facility: str | None = None, leaving: bool = False
    ) -> IngestResult:
        """Ingests one heartbeat received now."""
        result = await self.ingest.apply([self.event(Draft(user, session, facility, leaving=leaving))])
        await self._settle()
        return result

    def event(self, *beats: Draft) -> StreamEvent:
        return StreamEvent(encode_packet(self.time, map(encode_beat, beats)))

    async def sweep_after(self, by: int) -> int:
        """Lets time pass, sweeps; returns how many presences ended."""
        await self._settle()
        self.advance(by)
        ended = (await self.sweep.run()).ended
        await self._settle()
        return ended

    async def deliver(self) -> list[dict[str, Any]]:
        """Returns what has gone out to browsers, with everything that waited."""
        await self.broadcaster.close()
        await self.broadcaster.deliver()
        return self.push.sent

    async def run_on(self, by: int, step: int = 10_000, beats: Collection[str] = ()) -> None:
        """Lets time pass with a sweep, and a heartbeat of each of the users, every `step`."""
        for _ in range(by // step):
            for user in beats:
                await self.beat(user)
            await self.sweep_after(step)

    async def state(self, facility: str) -> FacilityState:
        [state] = await self.registry.facility_states([facility])
        return state

    async def swept_at(self) -> int | None:
        """Returns when a sweep last looked."""
        value = await self.redis.hget(keys.PIPELINE, "swept_at")
        return None if value is None else int(value)

    async def changes(self, facility: str) -> list[tuple[str, int, int, str]]:
        """Returns (status, since, version, reason) of every change in the stream."""
        rows = await stream_rows(self.redis, keys.partition_of(facility).changes)
        return [
            (row["status"], int(row["since"]), int(row["version"]), row["reason"])
            for row in rows
            if row.get("facility") == facility
        ]

    async def announcements(self) -> list[tuple[bool, int]]:
        """Returns (stale, since) of every announcement in the stream."""
        rows = await stream_rows(self.redis, keys.CONTROL_STREAM)
        return [(row["stale"] == "1", int(row["since"])) for row in rows if row["kind"] == "stale"]

    async def counters(self) -> Mapping[str, int]:
        rows = await self.redis.hgetall(keys.COUNTERS)
        return {text(name): int(value) for name, value in rows.items()}

    async def set_aside(self) -> list[dict[str, str]]:
        return [
            {**row, "source": source}
            for source in SOURCES
            for row in await stream_rows(self.redis, keys.dead_letters(source))
        ]

    def monitor_rows(self, query: str) -> list[tuple[Any, ...]]:
        return _rows(str(self.settings.sql_monitor.path), query)  # type: ignore[union-attr]

    def core_rows(self, query: str) -> list[tuple[Any, ...]]:
        return _rows(str(self.settings.sql_core.path), query)  # type: ignore[union-attr]

    async def _settle(self) -> None:
        """Waits for a sweep that ingest has started: it would hold the lease, or run at a later time of ours."""
        if self.sweep._task is not None:
            await self.sweep._task
        await self.agent_follower.errand.idle()
        await self.agent_announcer.errand.idle()

    async def close(self) -> None:
        await self._settle()
        for worker in (self.broadcaster, self.agent_follower, self.agent_announcer):
            await worker.close()
        self.monitor_store.close()
        self.core_store.close()


def make_world(redis: Redis, folder: Path) -> World:
    """Returns a process's services; several share what they are given."""
    world = World(
        Settings.from_environment(
            {
                "EventHubConnection": "Endpoint=sb://nowhere.example/;SharedAccessKeyName=k;SharedAccessKey=v",
                "Redis": "localhost:6379",
                "WebPubSub": "Endpoint=https://nowhere.example;AccessKey=c2VjcmV0;Version=1.0;",
                "SqlMonitor": f"sqlite:///{folder / 'monitor.db'}",
                "SqlCore": f"sqlite:///{folder / 'core.db'}",
                "AUTH_ISSUER": "https://login.example",
                "AUTH_AUDIENCE": "api://facility-pulse",
                "AUTH_CLIENT_ID": "browser",
                "AUTH_SCOPE": "openid",
                "SESSION_TTL_SECONDS": str(TTL // 1000),
                "LEAVE_GRACE_SECONDS": str(GRACE // 1000),
                "STALE_AFTER_SECONDS": str(STALE_AFTER // 1000),
            }
        )
    )
    world.time = time.time_ns() // 1_000_000
    world.redis = redis
    world.push = Recorder()
    world.publisher = Hub(world)
    # Messages keep their distance by the real clock, or a delivery would wait for ours.
    group = StreamGroup(redis, BROADCAST, [partition.changes for partition in keys.ALL_PARTITIONS])
    world.broadcaster = Broadcaster(
        redis, group, world.sequences, world.directory, world.push, world.dead_letters, milliseconds
    )
    return world


def _rows(path: str, query: str) -> list[tuple[Any, ...]]:
    with closing(connect(path)) as connection:
        return connection.execute(query).fetchall()
