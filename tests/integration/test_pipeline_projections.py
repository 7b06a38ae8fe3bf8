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
from shared.pipeline.bounds import StreamBounds
from shared.registry import keys
from shared.registry.client import text
from shared.registry.directory_cache import Departure
from shared.stream.announcements import AnnouncementsOf
from shared.stream.group import BROADCAST, CORE, SQL
from shared.stream.replaying import Replay
from shared.stream.setting_aside import TRIES
from tests.integration.pipeline_world import GRACE, TTL, World, make_world

TABLES = {
    "facility_status": "monitor",
    "facility_status_history": "monitor",
    "session_log": "monitor",
    "facilities": "core",
}

STALE_PERIODS = "SELECT started_at, ended_at FROM stale_periods ORDER BY started_at"


def everything(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Returns all rows that the streams lead to."""
    return {
        table: sorted(getattr(world, f"{role}_rows")(f"SELECT * FROM {table}"), key=repr)
        for table, role in TABLES.items()
    }


def versions(world: World, facility: str) -> list[int]:
    rows = world.monitor_rows(
        f"SELECT version FROM facility_status_history WHERE facility_id = '{facility}' ORDER BY 1"
    )
    return [version for (version,) in rows]


async def lives(world: World, users: Sequence[str], count: int = 1) -> None:
    """Each user comes and leaves, `count` times."""
    for _ in range(count):
        for user in users:
            await world.beat(user)
        await world.sweep_after(1_000)
        for user in users:
            await world.beat(user, leaving=True)
        await world.sweep_after(GRACE + 1_000)
        await world.sweep_after(GRACE + 1_000)


def database(store: Any) -> Any:
    """The database behind a store."""
    return store._database


def a_change(world: World, version: int) -> dict[Any, Any]:
    fields: dict[Any, Any] = {"kind": "status", "facility": "f-1", "status": "online", "since": world.time}
    return fields | {"version": version, "sessions": 1, "reason": "heartbeat"}


async def append(world: World, fields: dict[str, str]) -> None:
    await world.redis.xadd(keys.partition_of("f-1").changes, a_change(world, 1) | fields)


async def announce(world: World, **fields: int) -> None:
    whole: dict[Any, Any] = {"kind": "stale", **fields}
    await world.redis.xadd(keys.CONTROL_STREAM, whole)


async def pending(world: World, group: str) -> int:
    streams = [partition.changes for partition in keys.ALL_PARTITIONS]
    return sum([(await world.redis.xpending(stream, group))["pending"] for stream in streams])


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


async def test_beyond_its_limit_a_stream_gives_way_loudly_and_every_end_state_is_still_right(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await lives(world, ["u-1", "u-2", "u-9"], 20)
    stream = keys.partition_of("f-1").changes
    length = await world.redis.xlen(stream)
    assert length == 40
    await StreamBounds(world.redis, world.registry, world.now, changes_limit=10, ended_limit=1_000).keep()
    assert await world.redis.xlen(stream) <= 10 + 3
    cut = [record.getMessage() for record in caplog.records if record.getMessage().startswith("stream.cut")]
    assert len(cut) == 3, "one a stream"
    dropped = (await world.counters())["dropped_changes"]
    assert dropped > 0
    await world.monitor.run()
    recorded = sum(len(versions(world, facility)) for facility in ("f-1", "f-2", "f-3"))
    assert recorded == 120 - dropped, "what is missing is what was counted"
    for facility in ("f-1", "f-2", "f-3"):
        state = await world.state(facility)
        assert world.monitor_rows(f"SELECT version FROM facility_status WHERE facility_id = '{facility}'") == [
            (state.version,)
        ]
    told = {
        change["facilityId"]: change["version"] for message in await world.deliver() for change in message["changes"]
    }
    assert told == {facility: (await world.state(facility)).version for facility in ("f-1", "f-2", "f-3")}


async def test_announcements_that_browsers_know_are_not_repeated_when_a_stream_gives_way(world: World) -> None:
    for moment in range(6):
        await announce(world, stale=moment % 2, since=moment)
    await world.deliver()
    world.monitor_store.migrate()
    await world.monitor._history.run()
    bounds = StreamBounds(world.redis, world.registry, world.now, changes_limit=3)
    before = len(world.push.sent)
    await bounds.keep()
    assert await world.redis.xlen(keys.CONTROL_STREAM) <= 3, "for the core database, which has not looked yet"
    assert len(await world.deliver()) == before


@pytest.mark.parametrize("told", [False, True])
async def test_a_stream_that_gives_way_leaves_stale_periods_whole_and_browsers_with_the_newest(
    world: World, told: bool
) -> None:
    start = world.time
    await announce(world, stale=1, since=start)
    if told:
        await world.deliver()
    for version in range(1, 9):
        await world.redis.xadd(keys.CONTROL_STREAM, a_change(world, version))
    await announce(world, stale=0, since=start + 5_000, began=start)
    await announce(world, stale=1, since=start + 6_000)
    await announce(world, stale=0, since=start + 7_000, began=start + 6_000)
    if told:
        await world.deliver()
    before = [message for message in world.push.sent if message["type"] == "presence.stale"]
    # More and more is cut: first the beginning, whose end is not, at last all of it.
    for limit in (10, 8, 4, 2):
        await StreamBounds(world.redis, world.registry, world.now, changes_limit=limit).keep()
    after = [message for message in await world.deliver() if message["type"] == "presence.stale"][len(before) :]
    assert [message["stale"] for message in after if message["regionId"] == "r-1"] == ([] if told else [False])
    await world.monitor.run()
    assert world.monitor_rows(STALE_PERIODS) == [
        (to_iso(start), to_iso(start + 5_000)),
        (to_iso(start + 6_000), to_iso(start + 7_000)),
    ]


async def test_alerts_of_a_stream_that_gives_way_reach_browsers_and_sql_as_they_ended(world: World) -> None:
    stream = keys.partition_of("f-1").changes
    for at, state in enumerate(["offline", "recovered", "offline", "recovered"]):
        fields: dict[Any, Any] = {"kind": "alert", "facility": "f-1", "state": state, "since": at, "at": at}
        await world.redis.xadd(stream, fields)
    for limit in (3, 2, 1):
        await StreamBounds(world.redis, world.registry, world.now, changes_limit=limit).keep()
    assert await world.redis.xlen(stream) == 2, "the newest of each state"
    assert [(message["state"], message["since"]) for message in await world.deliver()] == [("recovered", to_iso(3))]
    await world.monitor.run()
    assert world.monitor_rows("SELECT state, since FROM facility_alerts ORDER BY state") == [
        ("offline", to_iso(2)),
        ("recovered", to_iso(3)),
    ]


async def test_what_is_announced_while_a_stream_gives_way_is_told_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await announce(world, stale=1, since=world.time)
    await world.redis.xadd(keys.CONTROL_STREAM, a_change(world, 1))
    look, more = AnnouncementsOf._look, [0]

    async def overtaken(announcements: AnnouncementsOf) -> None:
        await look(announcements)
        if more:
            await announce(world, stale=more.pop(), since=world.time + 1, began=world.time)

    monkeypatch.setattr(AnnouncementsOf, "_look", overtaken)
    await StreamBounds(world.redis, world.registry, world.now, changes_limit=1).keep()
    told = [message for message in await world.deliver() if message["type"] == "presence.stale"]
    assert [message["stale"] for message in told if message["regionId"] == "r-1"] == [False]
    await world.monitor.run()
    assert world.monitor_rows(STALE_PERIODS) == [(to_iso(world.time), to_iso(world.time + 1))]


async def test_a_departure_that_the_history_misses_is_counted(world: World) -> None:
    await world.monitor.run()
    await lives(world, ["u-1"])
    await world.registry.depart([Departure("f-1", "r-2", moved=True)], world.time)
    await lives(world, ["u-1"], 3)
    await world.deliver()
    await StreamBounds(world.redis, world.registry, world.now, changes_limit=2).keep()
    newest = (await world.state("f-1")).version
    await world.monitor.run()
    dropped = (await world.counters())["dropped_changes"]
    assert len(versions(world, "f-1")) == newest - dropped
    assert dropped > 0


async def test_what_the_history_has_is_not_counted_as_dropped(world: World) -> None:
    await lives(world, ["u-1"], 5)
    await world.deliver()
    await world.monitor._history.run()
    await StreamBounds(world.redis, world.registry, world.now, changes_limit=2).keep()
    assert (await world.counters())["dropped_changes"] == 0, "only the core database has not looked yet"


async def test_a_region_hears_of_a_departure_though_its_stream_gave_way_meanwhile(world: World) -> None:
    await world.redis.set(keys.BROADCAST_LEASE, "a broadcaster that is behind", px=60_000)
    await lives(world, ["u-1"])
    await world.registry.depart([Departure("f-1", "r-2", moved=True)], world.time)
    await lives(world, ["u-1"], 5)
    bounds = StreamBounds(world.redis, world.registry, world.now, changes_limit=4)
    await bounds.keep()
    assert await world.redis.xlen(keys.partition_of("f-1").changes) <= 4
    await world.redis.delete(keys.BROADCAST_LEASE)
    told = [
        (message["regionId"], change["status"]) for message in await world.deliver() for change in message["changes"]
    ]
    assert sorted(told) == [("r-1", "offline"), ("r-2", "removed")]


async def test_a_full_redis_is_relieved_of_what_sql_takes(world: World) -> None:
    streams = [stream for partition in keys.ALL_PARTITIONS for stream in (partition.changes, partition.ended)]
    await world.monitor.run()
    await lives(world, ["u-1", "u-2"], 3)
    await world.run_on(2 * TTL)
    await world.deliver()
    with pytest.MonkeyPatch.context() as patch:

        def away(*_: object, **__: object) -> int:
            raise DependencyUnavailableError("sql")

        # One run has read what waits and got no further.
        patch.setattr(database(world.monitor_store), "run", away)
        with pytest.raises(DependencyUnavailableError):
            await world.monitor.run()
    await world.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(DependencyUnavailableError, match=r"redis is not available: .*maxmemory"):
            await world.registry.block([("u-1", "s", world.time)])
        with pytest.raises(DependencyUnavailableError, match="maxmemory"):
            await world.monitor.run()
    finally:
        await world.redis.config_set("maxmemory", 0)
    assert sum([await world.redis.xlen(stream) for stream in streams]) == 0
    assert len(world.monitor_rows("SELECT 1 FROM session_log")) == 6


async def test_ended_sessions_beyond_the_limit_leave_redis_and_are_counted(world: World) -> None:
    await lives(world, ["u-1"], 10)
    for number in range(12):
        await world.beat("u-1", f"s-{number}")
    await world.run_on(2 * TTL)
    partition = keys.partition_of("f-1")
    assert await world.redis.hlen(partition.sessions("f-1")) == 14, "and when it was heard"
    await StreamBounds(world.redis, world.registry, world.now, ended_limit=10).keep()
    assert await world.redis.xlen(partition.ended) <= 10
    assert (await world.counters())["dropped_sessions"] == 22 - await world.redis.xlen(partition.ended)
    await world.run_on(2 * TTL)
    assert await world.redis.hlen(partition.sessions("f-1")) <= 11
