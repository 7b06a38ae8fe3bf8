"""Processes killed between any two steps: SQL holds every change, browsers end with the newest state."""

import asyncio
import base64
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.broadcast.push import WebPubSubPush
from shared.connections import WebPubSubConnection
from shared.domain.activity import MINUTE, Counts, Granularity, totals
from shared.domain.uptime import Span
from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.stream.deaths import HOPELESS
from shared.stream.group import BROADCAST, CORE, SQL
from tests.emulators.web_pubsub_harness import Client, Emulator, running_emulator
from tests.integration.crashing import ANNOUNCEMENT_STEPS, BROADCAST_STEPS, LEASE_MS, MONITOR_STEPS, POISON, sender
from tests.integration.pipeline_world import GRACE, World

ROOT = Path(__file__).parents[2]
FACILITIES = ("f-1", "f-2", "f-3")
ALERT_AFTER = 300_000
NOWHERE = "Endpoint=http://nowhere;AccessKey=c2VjcmV0;Version=1.0;"


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


async def crash_of_poison(redis_port: int, folder: Path, web_pubsub: str, what: str) -> int:
    """Runs processes until one survives; returns how many died."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.crashing"),
        *(str(redis_port), str(folder), web_pubsub, what, "poison"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return int(printed)


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


async def announce(world: World, *, stale: bool, reached: int) -> None:
    """Has staleness announced to every region, and alerts of who is due at a moment (ms)."""
    state = replace(await world.watermarks.load(), stale_since=world.time if stale else None, hold_until=None)
    assert await world.watermarks.save(state, world.time, before=None, announce="stalled")
    assert await world.alerts.announce(reached) == 1


async def messages(client: Client) -> list[dict[str, Any]]:
    """Returns what has arrived, up to a message that is sent last."""
    found = []
    while (message := await client.json())["type"] != "end":
        found.append(message)
    return found


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


@pytest.mark.parametrize("step", ANNOUNCEMENT_STEPS)
async def test_a_broadcaster_killed_with_announcements_in_hand_tells_them_to_every_region_in_their_order(
    world: World, redis: Redis, redis_port: int, tmp_path: Path, emulator: Emulator, step: str
) -> None:
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=emulator.connection_string))
    clients = {}
    for region in ("r-1", "r-2"):
        url, _ = await push.client_url("u-1", [f"region-{region}", "everyone"], 60)
        clients[region] = await emulator.open(url)
    without_delivery(world)
    await world.beat("u-1")
    await world.beat("u-1", leaving=True)
    await world.sweep_after(GRACE + 1_000)
    await world.broadcaster.deliver()
    await announce(world, stale=True, reached=world.time + ALERT_AFTER)
    await crash(redis_port, tmp_path, emulator.connection_string, "announcements", step)
    await world.beat("u-1")
    await announce(world, stale=False, reached=world.time)

    await sender(world, push).deliver()
    await push.send_to_group("everyone", {"type": "end"})
    told = {region: await messages(client) for region, client in clients.items()}
    for region, received in told.items():
        numbers = [message["sequence"] for message in received]
        assert numbers == sorted(set(numbers))
        assert await world.registry.region_sequences([region]) == {region: numbers[-1]}
        said = [message["stale"] for message in received if message["type"] == "presence.stale"]
        assert [each for each, _ in groupby(said)] == [True, False], region
    alerts = [message for message in told["r-1"] if message["type"] == "facility.alert"]
    assert [each for each, _ in groupby(alert["state"] for alert in alerts)] == ["offline", "recovered"]
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
    await crash(redis_port, tmp_path, NOWHERE, "monitor", step)
    await turn_all(world, online=True)

    world.advance(MINUTE)
    await world.monitor.run()
    with closing(world.history_store) as history:
        hours = {facility: history.activity(facility, Span(0, world.time)) for facility in FACILITIES}
    for facility in FACILITIES:
        counted = [bucket.counts for bucket in totals(hours[facility], Granularity.MINUTE).values()]
        assert sum(counted, Counts()) == Counts(heartbeats=2, started=2, left=1), facility
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


@pytest.mark.parametrize(("what", "group"), [("monitor", SQL), ("core", CORE)])
async def test_a_change_that_kills_whoever_records_it_is_set_aside_and_the_others_are_recorded(
    world: World, redis: Redis, redis_port: int, tmp_path: Path, what: str, group: str
) -> None:
    without_delivery(world)
    await turn_all(world, online=True)
    deaths = await crash_of_poison(redis_port, tmp_path, NOWHERE, what)
    assert deaths == HOPELESS + 1, "once when it was new"

    [letter] = await world.set_aside()
    assert (letter["source"], json.loads(base64.b64decode(letter["body"]))["facility"]) == (group, POISON)
    assert letter["reason"] == f"{HOPELESS} processes died handling it, the last ones with nothing else in hand"
    table = "SELECT facility_id FROM facility_status_history ORDER BY 1"
    rows = world.monitor_rows(table)
    if what == "core":
        assert rows == [(facility,) for facility in FACILITIES], "the other database knows nothing of it"
        rows = world.core_rows("SELECT facility_id FROM facilities WHERE connectivity_version = 1 ORDER BY 1")
    assert rows == [("f-1",), ("f-3",)]
    assert await pending(redis, group) == 0
    assert await redis.exists(keys.under_way(group)) == 0, "nothing is left behind"


async def test_a_change_that_kills_whoever_sends_it_is_set_aside_and_the_others_are_sent(
    world: World, redis: Redis, redis_port: int, tmp_path: Path, emulator: Emulator
) -> None:
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=emulator.connection_string))
    url, _ = await push.client_url("u-1", ["region-r-1", "region-r-2"], 60)
    client = await emulator.open(url)
    without_delivery(world)
    await turn_all(world, online=True)
    assert await crash_of_poison(redis_port, tmp_path, emulator.connection_string, "broadcast") == HOPELESS + 1
    told = [change["facilityId"] for _ in range(2) for change in (await client.json())["changes"]]
    assert sorted(set(told)) == ["f-1", "f-3"]
    [letter] = await world.set_aside()
    assert (letter["source"], letter["stream"]) == (BROADCAST, keys.partition_of(POISON).changes)
    assert await pending(redis, BROADCAST) == 0
    await push.close()


async def test_an_outage_is_no_death_however_often_entries_are_tried_meanwhile(
    world: World, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_delivery(world)
    await turn_all(world, online=True)
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> int:
            raise DependencyUnavailableError("sql")

        patch.setattr(world.monitor_store, "record_changes", away)
        for _ in range(HOPELESS + 2):
            with pytest.raises(DependencyUnavailableError):
                await world.monitor.run()
    assert await redis.exists(keys.under_way(SQL)) == 0
    await world.monitor.run()
    assert await world.set_aside() == []
    assert len(world.monitor_rows("SELECT facility_id FROM facility_status_history")) == 3
