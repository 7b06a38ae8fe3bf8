"""Processes killed between any two steps: SQL holds every change, browsers end with the newest state."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.broadcast.push import WebPubSubPush
from shared.connections import WebPubSubConnection
from shared.registry import keys
from shared.stream.group import BROADCAST, CORE, SQL
from tests.emulators.web_pubsub_harness import Client, Emulator, running_emulator
from tests.integration.crashing import BROADCAST_STEPS, LEASE_MS, MONITOR_STEPS, sender
from tests.integration.pipeline_world import GRACE, World

ROOT = Path(__file__).parents[2]
FACILITIES = ("f-1", "f-2", "f-3")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as emulator:
        yield emulator


class Page:
    """A browser that follows a region by the rules of the contract."""

    def __init__(self, world: World, region: str, client: Client) -> None:
        self._world = world
        self.region = region
        self._client = client
        self.sequence = 0
        self.held: dict[str, tuple[int, str]] = {}

    async def read_snapshot(self) -> None:
        view = await self._world.directory.view()
        # The number first, as the API does.
        self.sequence = (await self._world.registry.region_sequences([self.region]))[self.region]
        facilities = [entry.facility_id for entry in view.facilities_in(self.region)]
        for state in await self._world.registry.facility_states(facilities):
            self._take(state.facility_id, state.version, state.status)

    async def take(self, message: dict[str, Any]) -> None:
        assert message["regionId"] == self.region
        if message["sequence"] > self.sequence + 1:
            await self.read_snapshot()
        self.sequence = max(self.sequence, message["sequence"])
        for change in message["changes"]:
            if change["version"] > self.held.get(change["facilityId"], (0, ""))[0]:
                self._take(change["facilityId"], change["version"], change["status"])

    async def catch_up(self) -> None:
        """Takes in what has arrived, up to a message that is sent last."""
        while (message := await self._client.json())["type"] != "end":
            await self.take(message)

    def _take(self, facility: str, version: int, status: str) -> None:
        assert version >= self.held.get(facility, (0, ""))[0], "versions never go back"
        self.held[facility] = version, status


async def crash(redis_port: int, folder: Path, web_pubsub: str, what: str, step: str) -> None:
    """Runs a process to its death at a step, and waits until its lease is over."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.crashing"),
        *(str(redis_port), str(folder), web_pubsub, what, step),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    await asyncio.sleep(LEASE_MS / 1000)


async def turn_all(world: World, *, online: bool) -> None:
    """Has every facility change."""
    for user in ("u-1", "u-9"):
        await world.beat(user, leaving=not online)
    if not online:
        await world.sweep_after(GRACE + 1_000)
    await world.broadcaster.close()


def without_delivery(world: World) -> None:
    """Leaves delivery to the processes that are to die."""
    world.broadcaster.wake = lambda: None  # type: ignore[method-assign]


async def pending(redis: Redis, group: str, kind: str = "changes") -> int:
    streams = [getattr(partition, kind) for partition in keys.ALL_PARTITIONS]
    return sum([(await redis.xpending(stream, group))["pending"] for stream in streams])


@pytest.mark.parametrize("step", BROADCAST_STEPS)
async def test_a_broadcaster_killed_after_any_step_leaves_browsers_right(
    world: World, redis: Redis, redis_port: int, tmp_path: Path, emulator: Emulator, step: str
) -> None:
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=emulator.connection_string))
    pages = []
    for region in ("r-1", "r-2"):
        url, _ = await push.client_url("u-1", [f"region-{region}", "everyone"], 60)
        pages.append(Page(world, region, await emulator.open(url)))
        await pages[-1].read_snapshot()
    without_delivery(world)
    await turn_all(world, online=True)
    await crash(redis_port, tmp_path, emulator.connection_string, "broadcast", step)
    await turn_all(world, online=False)

    await sender(world, push).deliver()
    await push.send_to_group("everyone", {"type": "end"})
    for page in pages:
        await page.catch_up()
        for facility, held in page.held.items():
            state = await world.state(facility)
            assert held == (state.version, state.status), facility
        assert await world.registry.region_sequences([page.region]) == {page.region: page.sequence}
    assert {facility for page in pages for facility in page.held} == set(FACILITIES)
    assert await pending(redis, BROADCAST) == 0
    assert await world.set_aside() == []
    await push.close()


@pytest.mark.parametrize("step", MONITOR_STEPS)
async def test_a_monitor_killed_after_any_step_leaves_every_change_and_session_in_sql(
    world: World, redis: Redis, redis_port: int, tmp_path: Path, step: str
) -> None:
    without_delivery(world)
    await turn_all(world, online=True)
    await turn_all(world, online=False)
    await crash(redis_port, tmp_path, "Endpoint=http://nowhere;AccessKey=c2VjcmV0;Version=1.0;", "monitor", step)
    await turn_all(world, online=True)

    await world.monitor.run()
    for facility in FACILITIES:
        state = await world.state(facility)
        rows = world.monitor_rows("SELECT facility_id, version, status FROM facility_status_history ORDER BY 2")
        assert [row[1:] for row in rows if row[0] == facility] == [(1, "online"), (2, "offline"), (3, "online")]
        rows = world.monitor_rows("SELECT facility_id, version, status FROM facility_status")
        assert (facility, state.version, state.status) in rows
        rows = world.core_rows("SELECT facility_id, connectivity_version, connectivity_status FROM facilities")
        assert (facility, state.version, state.status) in rows
    logged = world.monitor_rows("SELECT user_id, facility_id FROM session_log ORDER BY 1, 2")
    assert logged == [("u-1", "f-1"), ("u-9", "f-2"), ("u-9", "f-3")]
    for group, kind in ((SQL, "changes"), (CORE, "changes"), (SQL, "ended")):
        assert await pending(redis, group, kind) == 0
    assert await world.set_aside() == []
