"""SQL that neither answers nor refuses: who asks it is told so in time, and nobody else waits."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from functions.end_session import end_session
from functions.facility_activity import facility_activity
from functions.facility_history import facility_history
from functions.region_activity import region_activity
from functions.region_facilities import region_facilities
from shared.broadcast import snapshots
from shared.cursors import Cursors
from shared.history import FacilityHistory
from shared.pipeline import ending
from shared.store.opening import open_core_store, open_history_store
from tests.functions.conftest import DIRECTORY, World, call

PATIENCE = 0.4
SOON = 5.0
"""Seconds: half of what SQLite waits for a lock, and many times what any of this takes."""
THREADS = min(32, (os.cpu_count() or 1) + 4)
"""That asyncio has for whatever blocks."""


@pytest.fixture
async def sql(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world whose callers are impatient, and whose snapshots are compressed whatever their size."""
    monkeypatch.setattr(snapshots, "_WORTH_COMPRESSING", 1)
    world.core_reader = open_core_store(f"sqlite:///{tmp_path}/core.db")
    world.core_reader.migrate()
    world.core_reader.replace_directory(DIRECTORY)
    world.history_store = open_history_store(f"sqlite:///{tmp_path}/monitor.db", world.now)
    world.history = FacilityHistory(world.history_store, Cursors("key"), world.now)
    world.core_reader.thread.patience = world.history_store.thread.patience = PATIENCE
    yield world
    world.core_reader.close()
    world.history_store.close()


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps a database file to another program: the file's users wait without an answer."""
    with closing(sqlite3.connect(path, autocommit=True)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        yield


async def snapshot_time() -> float:
    """Returns the seconds that a region's snapshot took, gzip and all."""
    begun = time.monotonic()
    answer = await call(region_facilities, headers={"Accept-Encoding": "gzip"}, regionId="r-1")
    assert (answer.status, answer.headers.get("Content-Encoding")) == (200, "gzip")
    return time.monotonic() - begun


@pytest.mark.parametrize("name", ["core.db", "monitor.db"])
async def test_live_reads_go_on_and_callers_are_told_in_time(sql: World, tmp_path: Path, name: str) -> None:
    if name == "core.db":
        sql.core_reader.close()
    with held(tmp_path / name):
        begun = time.monotonic()
        asked = [asyncio.create_task(call(facility_history, facilityId="f-1")) for _ in range(3 * THREADS)]
        await asyncio.sleep(PATIENCE / 4)
        assert await snapshot_time() < SOON
        answers = await asyncio.gather(*asked)
        assert time.monotonic() - begun < SOON
    assert {answer.problem() for answer in answers} == {(503, "dependency-unavailable")}
    assert {answer.headers["Retry-After"] for answer in answers} == {"2"}


@pytest.mark.parametrize("function", [facility_history, facility_activity, region_activity])
async def test_who_comes_while_a_call_hangs_is_told_at_once(sql: World, tmp_path: Path, function: object) -> None:
    with held(tmp_path / "monitor.db"):
        assert (await call(facility_history, facilityId="f-1")).status == 503
        sql.history_store.thread.patience = PATIENCE / 2
        begun = time.monotonic()
        answers = [await call(function, facilityId="f-1", regionId="r-1") for _ in range(30)]
        assert time.monotonic() - begun < SOON, "nobody waits"
    assert {answer.problem() for answer in answers} == {(503, "dependency-unavailable")}


async def test_nobody_is_called_for_who_has_given_up_and_the_next_ones_are_answered(
    sql: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    transitions = sql.history_store.transitions

    def noted(*arguments: object, **order: object) -> object:
        made.append("transitions")
        return transitions(*arguments, **order)  # type: ignore[arg-type]

    monkeypatch.setattr(sql.history_store, "transitions", noted)
    with held(tmp_path / "monitor.db"):
        answers = await asyncio.gather(*(call(facility_history, facilityId="f-1") for _ in range(5)))
        assert {answer.status for answer in answers} == {503}
    async with asyncio.timeout(20):
        while (await call(facility_history, facilityId="f-1")).status != 200:
            await asyncio.sleep(0.01)
    assert len(made) == 2, "the one that hung, and the one that was answered"


async def test_the_end_of_a_session_waits_a_moment_and_does_not_need_sql(
    sql: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_STORE_SECONDS", 0.05)
    sql.monitor_store.close()
    with held(tmp_path / "ended.db"):
        begun = time.monotonic()
        answers = [await call(end_session, "DELETE", userId="u-1", sessionId=f"s-{n}") for n in range(THREADS + 2)]
        assert await snapshot_time() < SOON
        assert time.monotonic() - begun < SOON
    assert {answer.status for answer in answers} == {204}
