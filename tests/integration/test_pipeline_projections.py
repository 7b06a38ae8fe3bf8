"""SQL under failure: outages are waited out, bad entries set aside, a replay changes nothing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared import metrics
from shared.domain.facility import FacilityChange
from shared.domain.instants import to_iso
from shared.domain.session import EndedSession
from shared.errors import DependencyUnavailableError, StoreError
from shared.pipeline import monitor
from shared.registry import keys
from shared.registry.client import text
from shared.stream.group import BROADCAST, CORE, SQL
from shared.stream.replaying import Replay
from shared.stream.setting_aside import TRIES
from tests.integration.pipeline_world import TTL, World, make_world
from tests.integration.stream_world import STALE_PERIODS, announce, append, database, lives, pending, versions

TABLES = {
    "facility_status": "monitor",
    "facility_status_history": "monitor",
    "session_log": "monitor",
    "facilities": "core",
}


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Returns all rows that the streams lead to."""
    return {
        table: sorted(getattr(world, f"{role}_rows")(f"SELECT * FROM {table}"), key=repr)
        for table, role in TABLES.items()
    }


def refuse(world: World, monkeypatch: pytest.MonkeyPatch, step: str, bad: Callable[[Any], bool]) -> None:
    """Has a store refuse, as a whole, whatever holds a bad item."""
    store = world.core_store if step == "update_connectivity" else world.monitor_store
    write = getattr(store, step)

    def picky(items: Sequence[Any], *others: Sequence[Any]) -> int:
        if any(bad(item) for item in [*items, *chain(*others)]):
            raise StoreError("value would be truncated")
        return int(write(items, *others))

    monkeypatch.setattr(store, step, picky)


async def test_a_replay_of_the_whole_stream_changes_nothing(world: World) -> None:
    await lives(world, ["u-1", "u-2", "u-9", "stranger"], 3)
    before_trimming = {
        stream: await world.redis.xrange(stream)
        for partition in keys.ALL_PARTITIONS
        for stream in (partition.changes, partition.ended)
    }
    first = await world.monitor.run()
    assert first.changes == 6 * 3
    assert first.sessions == 5 * 3
    expected = everything(world)
    for stream, entries in before_trimming.items():
        await world.redis.delete(stream)
        for entry_id, fields in entries or ():
            await world.redis.xadd(stream, fields, id=entry_id)  # type: ignore[arg-type]
    again = await world.monitor.run()
    assert (again.changes, again.sessions) == (0, 0)
    assert everything(world) == expected


async def test_ten_minutes_without_sql_hold_up_nothing_else_and_are_caught_up_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.monitor.run()
    await lives(world, ["u-1"])
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> int:
            raise DependencyUnavailableError("sql")

        for store in (world.monitor_store, world.core_store):
            patch.setattr(database(store), "run", away)
        for minute in range(10):
            await world.beat("u-2", f"minute-{minute}")
            await world.run_on(60_000, step=10_000, beats=["u-9"])
            with pytest.raises(DependencyUnavailableError):
                await world.monitor.run()
        told = [change for message in await world.deliver() for change in message.get("changes", ())]
        assert {"f-1", "f-2", "f-3"} <= {change["facilityId"] for change in told}
        assert (await world.state("f-3")).status == "online"
    assert await world.set_aside() == [], "an outage is nobody's fault"
    result = await world.monitor.run()
    assert result.sessions > 0
    for facility in ("f-1", "f-2", "f-3"):
        newest = (await world.state(facility)).version
        assert versions(world, facility) == list(range(1, newest + 1))
    assert await pending(world, SQL) == 0


@pytest.mark.parametrize("away", ["core", "monitor"])
async def test_one_database_does_not_wait_for_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    await lives(world, ["u-1"])
    expected = 2
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> int:
            raise DependencyUnavailableError("sql")

        patch.setattr(database(world.core_store if away == "core" else world.monitor_store), "run", fail)
        with pytest.raises(DependencyUnavailableError):
            await world.monitor.run()
    if away == "core":
        assert versions(world, "f-1") == [1, 2]
        expected = 0
    else:
        assert world.core_rows("SELECT connectivity_version FROM facilities WHERE facility_id = 'f-1'") == [(2,)]
    assert (await world.monitor.run()).changes == expected
    assert await pending(world, SQL) == await pending(world, CORE) == 0


@pytest.mark.parametrize("hangs", ["core", "monitor"])
async def test_a_database_that_hangs_keeps_neither_the_other_nor_the_streams_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    await world.monitor.run()
    await lives(world, ["u-1"])
    answer = threading.Event()
    stuck = database(world.core_store if hangs == "core" else world.monitor_store)
    real = stuck.run

    def wait(*args: Any, **kwargs: Any) -> Any:
        answer.wait()
        return real(*args, **kwargs)

    monkeypatch.setattr(stuck, "run", wait)
    monkeypatch.setattr(monitor, "PATIENCE_SECONDS", 0.1)
    surveyed = asyncio.Event()
    monkeypatch.setattr(metrics, "surveyed", lambda *_: surveyed.set())

    def is_written() -> bool:
        if hangs == "core":
            return versions(world, "f-1") == [1, 2]
        return world.core_rows("SELECT connectivity_version FROM facilities WHERE facility_id = 'f-1'") == [(2,)]

    run = asyncio.create_task(world.monitor.run())
    try:
        async with asyncio.timeout(10):
            await surveyed.wait()
            while not is_written():
                await asyncio.sleep(0.01)
        assert not run.done()
    finally:
        answer.set()
        await run
    assert await pending(world, SQL) == await pending(world, CORE) == 0


@pytest.mark.parametrize("step", ["record_changes", "update_connectivity"])
async def test_an_entry_that_sql_refuses_is_set_aside_after_its_tries_and_the_rest_of_its_batch_proceeds(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def bad(change: FacilityChange) -> bool:
        return change.facility_id == "f-2"

    refuse(world, monkeypatch, step, bad)
    await lives(world, ["u-1", "u-2", "u-9"])
    for run in range(TRIES):
        assert await world.set_aside() == []
        if run:
            await lives(world, ["u-1"])
        await world.monitor.run()
    letters = await world.set_aside()
    group = SQL if step == "record_changes" else CORE
    assert {letter["source"] for letter in letters} == {group}
    assert {letter["reason"] for letter in letters} == {"value would be truncated"}
    assert await pending(world, group) == 0
    table = versions(world, "f-1"), versions(world, "f-3")
    assert table == (list(range(1, 2 * TRIES + 1)), [1, 2])
    assert await world.redis.hlen(keys.refusals(group)) == 0


async def test_a_session_that_sql_refuses_is_set_aside_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(session: EndedSession) -> bool:
        return session.user_id == "u-1"

    partition = keys.partition_of("f-1")
    with monkeypatch.context() as patch:
        refuse(world, patch, "log_sessions", bad)
        await lives(world, ["u-1", "u-2"])
        for _ in range(TRIES):
            await lives(world, ["u-9"])
            await world.monitor.run()
    assert [letter["stream"] for letter in await world.set_aside()] == [partition.ended]
    assert world.monitor_rows("SELECT count(*) FROM session_log WHERE user_id = 'u-2'") == [(1,)]
    await world.run_on(2 * TTL)
    left = {text(field) for field in await world.redis.hkeys(partition.sessions("f-1"))}
    assert left <= {keys.HEARD}, "its value does not stay for ever"

    letters = await world.dead_letters.list(SQL)
    assert (await Replay(world.redis, world.dead_letters, world.now).replay(letters)).done == 1
    await world.monitor.run()
    assert world.monitor_rows("SELECT count(*) FROM session_log WHERE user_id = 'u-1'") == [(1,)]


@pytest.mark.parametrize("step", ["record_changes", "log_sessions"])
async def test_on_a_quiet_system_a_refused_entry_is_set_aside_too(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await lives(world, ["u-2"])
    await world.monitor.run()
    refuse(world, monkeypatch, step, lambda item: item.facility_id == "f-1")
    await lives(world, ["u-1"])
    letters = {"record_changes": 2, "log_sessions": 1}[step]
    for _ in range(TRIES):
        assert await world.set_aside() == []
        await world.monitor.run()
    assert [letter["source"] for letter in await world.set_aside()] == [SQL] * letters
    assert await pending(world, SQL) == 0


async def test_a_database_that_refuses_what_it_took_before_costs_no_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lives(world, ["u-2"])
    await world.monitor.run()
    await lives(world, ["u-1"])
    with monkeypatch.context() as patch:
        refuse(world, patch, "record_changes", lambda _: True)
        for _ in range(TRIES + 1):
            with pytest.raises(StoreError):
                await world.monitor.run()
    assert await world.set_aside() == []
    assert (await world.monitor.run()).changes == 2


async def test_in_the_customers_database_what_is_known_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lives(world, ["u-2"])
    await world.monitor.run()
    await lives(world, ["u-1"])
    refuse(world, monkeypatch, "update_connectivity", lambda change: change.facility_id == "f-1")
    for _ in range(TRIES + 1):
        with pytest.raises(StoreError):
            await world.monitor.run()
    assert await world.set_aside() == []


async def test_a_refusal_by_chance_leaves_no_stale_period_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [world.time + number * 1_000 for number in range(16)]
    periods = list(zip(moments[::2], moments[1::2], strict=True))
    for began, ended in periods:
        await announce(world, stale=1, since=began)
        await announce(world, stale=0, since=ended, began=began)
    write, refusals = world.monitor_store.record_changes, ["a deadlock"]

    def once(*records: Any) -> int:
        if refusals:
            raise StoreError(refusals.pop())
        return write(*records)

    monkeypatch.setattr(world.monitor_store, "record_changes", once)
    await world.monitor.run()
    assert world.monitor_rows(STALE_PERIODS) == [(to_iso(began), to_iso(ended)) for began, ended in periods]


async def test_a_database_that_refuses_everything_costs_no_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await lives(world, ["u-1", "u-2", "u-9"])
    with monkeypatch.context() as patch:
        refuse(world, patch, "record_changes", lambda _: True)
        for _ in range(TRIES + 2):
            with pytest.raises(StoreError, match="truncated"):
                await world.monitor.run()
    assert await world.set_aside() == []
    assert (await world.monitor.run()).changes == 6


async def test_a_database_with_a_newer_schema_is_left_alone_and_the_rest_goes_on(
    world: World, redis: Redis, tmp_path: Path
) -> None:
    await world.monitor.run()
    await lives(world, ["u-1"])
    rows = (
        "INSERT INTO schema_migrations (name, applied_at) VALUES ('9999_from_the_future', '2099-01-01T00:00:00.000Z')"
    )
    database(world.monitor_store).run("monitor", lambda transaction: transaction.script(rows), writing=True)
    older = make_world(redis, tmp_path)
    with pytest.raises(StoreError, match="9999_from_the_future"):
        await older.monitor.run()
    assert versions(world, "f-1") == []
    assert world.core_rows("SELECT connectivity_version FROM facilities WHERE facility_id = 'f-1'") == [(2,)]
    assert await world.set_aside() == []
    await older.close()


async def test_a_bad_entry_of_any_kind_is_set_aside_at_once_and_nothing_waits_behind_it(world: World) -> None:
    bad: list[dict[str, str]] = [
        {"kind": "from-the-future"},
        {"v": "2"},
        {"version": "-1"},
        {"version": "one"},
        {"since": "999999999999999999"},
        {"status": "asleep"},
        {"reason": "because"},
        {"facility": "f" * 65},
        {"facility": "../f"},
    ]
    for fields in bad:
        await append(world, fields)
    await append(world, {"version": "2"})
    result = await world.monitor.run()
    assert result.changes == 1
    await world.deliver()
    letters = await world.set_aside()
    for source in (SQL, CORE, BROADCAST):
        assert len([letter for letter in letters if letter["source"] == source]) == len(bad)
    assert (await world.counters())["dead_letters"] == 3 * len(bad)


async def test_a_removal_is_in_the_history_and_leaves_the_core_database_alone(world: World) -> None:
    await append(world, {"version": "1"})
    await append(world, {"version": "2", "status": "removed", "reason": "removed", "region": "r-1"})
    await append(world, {"version": "3"})
    assert (await world.monitor.run()).changes == 3
    assert versions(world, "f-1") == [1, 2, 3]
    assert world.monitor_rows("SELECT status, version FROM facility_status") == [("online", 3)]
    assert world.core_rows("SELECT connectivity_version FROM facilities WHERE facility_id = 'f-1'") == [(3,)]
