"""What the streams hold goes to SQL, once, whatever dies in between; what SQL holds of the directory goes to Redis."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared import metrics
from shared.broadcast.snapshots import facility_item
from shared.domain.activity import DAY
from shared.domain.directory import Directory, Facility
from shared.domain.facility import FacilityChange
from shared.domain.instants import to_iso
from shared.domain.session import EndedSession, EndReason
from shared.errors import DependencyUnavailableError
from shared.pipeline import monitor
from shared.registry import keys
from shared.requests import HistoryQuery
from shared.stream import group
from tests.integration.pipeline_world import DIRECTORY, GRACE, TTL, World, make_world

HISTORY = "SELECT facility_id, version, status, at, reason FROM facility_status_history ORDER BY facility_id, version"
STATUS = "SELECT facility_id, status, since, version, reason FROM facility_status ORDER BY facility_id"
CORE = """SELECT facility_id, connectivity_status, connectivity_since, connectivity_version FROM facilities
          ORDER BY facility_id"""
LOG = "SELECT user_id, session_id, facility_id, started_at, ended_at, reason FROM session_log ORDER BY 1, 2, 3, 4"


async def one_life(world: World) -> tuple[str, str]:
    """u-1 comes to f-1 and leaves; returns when it began and ended."""
    await world.beat("u-1")
    started = world.time
    await world.sweep_after(1_000)
    await world.beat("u-1", leaving=True)
    ended = world.time + GRACE
    await world.sweep_after(GRACE + 1_000)
    assert [row[0] for row in await world.changes("f-1")][-2:] == ["online", "offline"]
    return to_iso(started), to_iso(ended)


async def test_changes_stand_in_both_databases(world: World) -> None:
    started, ended = await one_life(world)
    await world.beat("u-2")
    result = await world.monitor.run()
    assert result.changes == 3
    since = to_iso(world.time)
    assert world.monitor_rows(HISTORY) == [
        ("f-1", 1, "online", started, "heartbeat"),
        ("f-1", 2, "offline", ended, "left"),
        ("f-2", 1, "online", since, "heartbeat"),
    ]
    assert world.monitor_rows(STATUS) == [
        ("f-1", "offline", ended, 2, "left"),
        ("f-2", "online", since, 1, "heartbeat"),
    ]
    assert world.core_rows(CORE) == [
        ("f-1", "offline", ended, 2),
        ("f-2", "online", since, 1),
        ("f-3", "offline", None, 0),
    ]

    assert await world.monitor.run() == replace(result, changes=0, sessions=0)


async def test_an_ended_session_is_logged_and_only_then_leaves_redis(world: World) -> None:
    started, ended = await one_life(world)
    values = keys.partition_of("f-1").sessions("f-1")
    await world.run_on(TTL + 10_000)
    assert await world.redis.hexists(values, "u-1/s"), "not logged yet"

    assert (await world.monitor.run()).sessions == 1
    assert world.monitor_rows(LOG) == [("u-1", "s", "f-1", started, ended, "left")]
    assert not await world.redis.hexists(values, "u-1/s")


async def test_unassigned_sessions_are_logged_without_a_facility(world: World) -> None:
    await world.beat("stranger")
    await world.run_on(TTL + 10_000)
    assert (await world.monitor.run()).sessions == 1
    [(user, _, facility, *_)] = world.monitor_rows(LOG)
    assert (user, facility) == ("stranger", "")


async def test_the_directory_is_refreshed_and_a_facility_that_moved_is_announced_to_its_old_region(
    world: World,
) -> None:
    await world.beat("u-1")
    await world.deliver()
    world.push.sent.clear()
    moved = replace(
        DIRECTORY,
        facilities={**DIRECTORY.facilities, "f-1": Facility("f-1", "c-2", "Facility 1")},
        facilities_of_user={**DIRECTORY.facilities_of_user, "u-1": ("f-1", "f-3")},
    )
    world.core_store.replace_directory(moved)
    assert (await world.monitor.run()).directory
    assert await world.directory.facilities_of(["u-1"]) == {"u-1": ("f-1", "f-3")}
    told = [
        (message["regionId"], change["status"]) for message in await world.deliver() for change in message["changes"]
    ]
    assert told == [("r-1", "removed"), ("r-2", "online")]
    assert not (await world.monitor.run()).directory, "published once"


def without(facility: str) -> Directory:
    """The directory without one facility."""
    return replace(
        DIRECTORY,
        facilities={name: each for name, each in DIRECTORY.facilities.items() if name != facility},
        facilities_of_user={
            user: tuple(name for name in names if name != facility)
            for user, names in DIRECTORY.facilities_of_user.items()
        },
    )


def in_another_region(facility: str) -> Directory:
    """The directory with one facility in the other region."""
    county = "c-1" if DIRECTORY.facilities[facility].county_id == "c-2" else "c-2"
    moved = Facility(facility, county, "")
    return replace(DIRECTORY, facilities={**DIRECTORY.facilities, facility: moved})


async def test_a_move_is_no_transition_of_the_history_and_uptime_goes_on_over_it(world: World) -> None:
    begun = world.time
    await world.beat("u-1")
    await world.sweep_after(10_000)
    await world.monitor.run()
    world.core_store.replace_directory(in_another_region("f-1"))
    await world.monitor.run()
    await world.beat("u-1", leaving=True)
    await world.sweep_after(GRACE + 1_000)
    await world.sweep_after(GRACE + 1_000)
    await world.monitor.run()
    assert world.monitor_rows(
        "SELECT version, status, reason FROM facility_status_history WHERE facility_id = 'f-1' ORDER BY version"
    ) == [(1, "online", "heartbeat"), (2, "removed", "removed"), (3, "online", "joined"), (4, "offline", "left")]
    of_range = {"from": to_iso(begun), "to": to_iso(begun + 20_000)}
    page = await world.history.page("f-1", HistoryQuery.model_validate(of_range))
    world.history_store.close()
    assert [(each.version, each.status, each.at - begun) for each in page.transitions] == [
        (4, "offline", 15_000),
        (1, "online", 0),
    ]
    assert page.uptime == 0.75


async def test_a_facility_that_was_never_online_is_shown_at_version_0_after_a_move(world: World) -> None:
    world.core_store.replace_directory(in_another_region("f-1"))
    await world.monitor.run()
    told = [
        (message["regionId"], change["facilityId"], change["status"], change["version"])
        for message in await world.deliver()
        for change in message["changes"]
    ]
    assert told == [("r-1", "f-1", "removed", 1)]
    entry = (await world.directory.view()).facilities["f-1"]
    shown = facility_item(entry, await world.state("f-1"))
    assert (shown["version"], shown["status"], shown["since"]) == (0, "offline", None)


async def test_a_facility_that_was_removed_and_returns_is_told_and_written_as_it_is(world: World) -> None:
    since = world.time
    await world.beat("u-1")
    await world.monitor.run()
    world.core_store.replace_directory(without("f-1"))
    await world.monitor.run()
    await world.deliver()
    world.push.sent.clear()
    world.core_store.replace_directory(DIRECTORY)
    assert world.core_rows("SELECT connectivity_version FROM facilities WHERE facility_id = 'f-1'") == [(0,)]
    await world.monitor.run()
    assert world.core_rows(
        "SELECT connectivity_status, connectivity_since, connectivity_version FROM facilities WHERE facility_id = 'f-1'"
    ) == [("online", to_iso(since), 3)]
    told = [
        (message["regionId"], change["facilityId"], change["status"], change["version"])
        for message in await world.deliver()
        for change in message["changes"]
    ]
    assert told == [("r-1", "f-1", "online", 3)]


async def test_streams_are_trimmed_when_every_reader_is_done(world: World) -> None:
    await one_life(world)
    changes, ended = keys.partition_of("f-1").changes, keys.partition_of("f-1").ended
    await world.monitor.run()
    assert await world.redis.xlen(ended) == 0
    await world.deliver()
    await world.monitor.run()
    assert await world.redis.xlen(changes) == 0

    await world.redis.set(keys.BROADCAST_LEASE, "a broadcaster that is behind", px=60_000)
    await world.beat("u-1")
    await world.monitor.run()
    assert await world.redis.xlen(changes) == 1


@pytest.mark.parametrize("step", ["record_changes", "log_sessions"])
async def test_a_monitor_that_dies_between_commit_and_acknowledgement_repeats_without_harm(
    world: World, redis: Redis, tmp_path: Path, step: str
) -> None:
    started, ended = await one_life(world)
    write = getattr(world.monitor_store, step)

    def commit_and_die(*rows: Sequence[object]) -> int:
        write(*rows)
        raise DependencyUnavailableError("sql")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.monitor_store, step, commit_and_die)
        with pytest.raises(DependencyUnavailableError):
            await world.monitor.run()
    stream = keys.partition_of("f-1").changes if step == "record_changes" else keys.partition_of("f-1").ended
    assert (await redis.xpending(stream, group.SQL))["pending"] > 0

    successor = make_world(redis, tmp_path)
    result = await successor.monitor.run()
    assert (result.changes if step == "record_changes" else result.sessions) == 0, "every row was there already"
    assert world.monitor_rows(HISTORY) == [
        ("f-1", 1, "online", started, "heartbeat"),
        ("f-1", 2, "offline", ended, "left"),
    ]
    assert world.monitor_rows(LOG) == [("u-1", "s", "f-1", started, ended, "left")]
    assert (await redis.xpending(stream, group.SQL))["pending"] == 0
    await successor.close()


async def test_a_monitor_between_the_two_databases_leaves_the_core_for_the_next_run(world: World) -> None:
    _, ended = await one_life(world)

    def away(changes: Sequence[FacilityChange]) -> int:
        raise DependencyUnavailableError("sql")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.core_store, "update_connectivity", away)
        with pytest.raises(DependencyUnavailableError):
            await world.monitor.run()
    assert world.core_rows(CORE)[0] == ("f-1", "offline", None, 0)
    await world.monitor.run()
    assert world.core_rows(CORE)[0] == ("f-1", "offline", ended, 2)


async def test_an_unknown_entry_is_set_aside_and_the_rest_is_recorded(world: World) -> None:
    partition = keys.partition_of("f-1")
    await world.redis.xadd(partition.changes, {"kind": "from-the-future"})
    await world.redis.xadd(partition.ended, {"id": "nobody"})
    await one_life(world)
    result = await world.monitor.run()
    assert (result.changes, result.sessions) == (2, 1)
    assert [(row["source"], row["reason"]) for row in await world.set_aside() if row["source"] != "broadcast"] == [
        ("sql", "unknown kind of change: 'from-the-future'"),
        ("sql", "malformed session id: 'nobody'"),
        ("core", "unknown kind of change: 'from-the-future'"),
    ]


async def test_one_monitor_runs_at_a_time(world: World) -> None:
    await one_life(world)
    await world.redis.set(keys.MONITOR_LEASE, "another", px=60_000)
    assert (await world.monitor.run()).changes == 0
    await world.redis.delete(keys.MONITOR_LEASE)
    assert (await world.monitor.run()).changes == 2


async def test_a_run_measures_what_waits_in_the_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, tuple[int, dict[str, tuple[int, float]]]] = {}
    monkeypatch.setattr(metrics, "surveyed", lambda stream, *values: found.update({stream: values}))
    await world.redis.set(keys.BROADCAST_LEASE, "a broadcaster that is behind", px=60_000)
    await one_life(world)
    await world.monitor.run()
    entries, groups = found["changes"]
    assert entries == 2
    assert {name: waiting for name, (waiting, _) in groups.items()} == {group.BROADCAST: 2, group.CORE: 0, group.SQL: 0}
    assert found["ended"] == (1, {group.SQL: (0, 0)})


async def test_a_departure_that_could_not_be_announced_is_announced_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.beat("u-1")
    await world.monitor.run()
    world.core_store.replace_directory(without("f-1"))
    with monkeypatch.context() as patch:

        async def away(*_: object) -> int:
            raise DependencyUnavailableError("redis")

        patch.setattr(world.registry, "depart", away)
        with pytest.raises(DependencyUnavailableError):
            await world.monitor.run()
    for _ in range(2):
        await world.monitor.run()
    assert [row[0] for row in world.monitor_rows("SELECT status FROM facility_status_history ORDER BY version")] == [
        "online",
        "removed",
    ]


async def test_what_is_past_retention_goes_by_the_hour_and_at_once_while_there_is_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.monitor.run()
    world.advance(monitor.PRUNE_EVERY)
    monkeypatch.setattr(monitor, "PRUNE_LIMIT", 2)

    async def left_of(added: int) -> int:
        long_ago = world.time - 1_000 * DAY
        ended = [EndedSession("u", str(n), "f-1", long_ago, long_ago, EndReason.LEFT) for n in range(added)]
        world.monitor_store.log_sessions(ended)
        await world.monitor.run()
        return len(world.monitor_rows(LOG))

    assert await left_of(5) == 3
    assert await left_of(0) == 1
    assert await left_of(0) == 0
    assert await left_of(1) == 1
    world.advance(monitor.PRUNE_EVERY - 1)
    assert await left_of(0) == 1
    world.advance(1)
    assert await left_of(0) == 0
    world.advance(-DAY)
    assert await left_of(1) == 0
