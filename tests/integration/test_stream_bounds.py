"""Streams that give way beyond their limit, and a Redis that is full."""

from typing import Any

import pytest

from shared.domain.instants import to_iso
from shared.errors import DependencyUnavailableError
from shared.pipeline.bounds import StreamBounds
from shared.registry import keys
from shared.registry.directory_cache import Departure
from shared.stream.announcements import AnnouncementsOf
from tests.integration.pipeline_world import TTL, World
from tests.integration.stream_world import STALE_PERIODS, a_change, announce, database, lives, versions


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
