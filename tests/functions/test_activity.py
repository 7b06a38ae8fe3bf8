"""`GET /facilities/{facilityId}/activity`: SQL, completed by what Redis still counts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from functions.facility_activity import facility_activity
from functions.region_activity import region_activity
from shared.activity import FacilityActivity
from shared.domain.activity import DAY, HOUR, MINUTE, ActivityHour, Counts
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.heartbeat import Heartbeat
from shared.domain.instants import to_iso
from shared.pipeline.activity import ActivityFold
from shared.registry import keys
from shared.registry.activity import ActivityCounters
from shared.registry.registry import Registry
from shared.store.opening import open_core_store, open_history_store, open_monitor_store
from tests.functions.conftest import DIRECTORY, NOW, Answer, World, call
from tests.redis_server import stream_rows

# Ten minutes past an hour, so that an hour back and the current one are both there.
HERE = NOW - NOW % HOUR + 10 * MINUTE
ADMIN = "boss,presence.admin"


@pytest.fixture
async def site(world: World, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose databases are there."""
    address = f"sqlite:///{tmp_path}/pulse.db"
    world.monitor_store = open_monitor_store(address)
    world.monitor_store.migrate()
    world.core_reader = open_core_store(address)
    world.core_reader.migrate()
    world.core_reader.replace_directory(DIRECTORY)
    world.history_store = open_history_store(address, world.now)
    world.time = HERE
    yield world
    world.monitor_store.close()
    world.core_reader.close()
    world.history_store.close()


async def beat(site: World, at: int, session: str = "s-1", user: str = "u-1", *, leaving: bool = False) -> None:
    await site.registry.ingest([("f-1", Heartbeat(user, session, at, leaving=leaving))])


async def monitor(site: World) -> None:
    """Does what a monitor run does for activity: counts and transitions go to SQL."""

    async def renew() -> None:
        pass

    await ActivityFold(site.activity_counters, site.monitor_store, site.now).run(renew)
    rows = await stream_rows(site.redis, keys.partition_of("f-1").changes)
    site.monitor_store.record_changes(
        [
            FacilityChange("f-1", FacilityStatus(row["status"]), int(row["since"]), int(row["version"]), 0, "x")
            for row in rows
        ]
    )


async def sweep(site: World, watermark: int) -> None:
    await site.registry.sweep(keys.partition_of("f-1"), watermark)


async def activity(token: str = "u-1", facility: str = "f-1", **params: str) -> Answer:
    return await call(facility_activity, token=token, params=params, facilityId=facility)


def bucket(start: int, heartbeats: int = 0, started: int = 0, online: float = 0, **other: int) -> dict[str, Any]:
    ended = {reason: other.get(reason, 0) for reason in ("expired", "left", "ended")}
    users = {"uniqueUsers": other["users"]} if "users" in other else {}
    return {
        "start": to_iso(start),
        "heartbeats": heartbeats,
        "sessionsStarted": started,
        "sessionsEnded": ended,
        "onlineSeconds": online,
        **users,
    }


async def test_a_facility_where_nothing_happened(site: World) -> None:
    for granularity in ("minute", "hour", "day"):
        answer = await activity(granularity=granularity)
        assert (answer.status, answer.body) == (200, {"items": []})


async def test_the_running_minute_is_told_before_any_monitor_run_and_the_same_after_it(site: World) -> None:
    await beat(site, HERE - 90_000)
    await beat(site, HERE - 30_000)
    await beat(site, HERE - 20_000, "s-2", "u-9")
    expected = [bucket(HERE - 2 * MINUTE, 1, 1, 30), bucket(HERE - MINUTE, 2, 1, 60)]
    for _ in range(2):
        assert (await activity(granularity="minute")).body == {"items": expected}
        await monitor(site)
    assert (await activity()).body == {"items": [bucket(HERE - 10 * MINUTE, 3, 2, 90, users=2)]}
    day = HERE - HERE % DAY
    assert (await activity(granularity="day")).body == {"items": [bucket(day, 3, 2, 90, users=2)]}


async def test_ends_are_told_by_reason_in_the_minute_of_the_end(site: World) -> None:
    await beat(site, HERE - 5 * MINUTE)
    await beat(site, HERE - 5 * MINUTE, "s-2")
    await beat(site, HERE - 5 * MINUTE, "s-3")
    await beat(site, HERE - 4 * MINUTE - 5_000, "s-2", leaving=True)
    await site.registry.end_session("u-1", "s-3", ["f-1"], HERE - 3 * MINUTE, HERE + DAY)
    await sweep(site, HERE)
    assert (await activity(granularity="minute")).body["items"] == [
        bucket(HERE - 5 * MINUTE, 3, 3, 60),
        # s-1 fell silent 90 s after its only beat; s-3 was there until it was ended.
        bucket(HERE - 4 * MINUTE, 0, 0, 60, expired=1, left=1),
        bucket(HERE - 3 * MINUTE, 0, 0, 0, ended=1),
    ]


async def test_a_facility_that_is_online_for_days_is_so_in_every_bucket(site: World) -> None:
    await beat(site, HERE - 3 * DAY)
    await monitor(site)
    items = (await activity(granularity="minute")).body["items"]
    assert [item["onlineSeconds"] for item in items] == [60] * 60
    assert all(item["heartbeats"] == 0 for item in items)
    items = (await activity(granularity="hour")).body["items"]
    assert [item["onlineSeconds"] for item in items] == [3600] * 24 + [600]
    items = (await activity(granularity="day")).body["items"]
    today = HERE % DAY // 1000
    assert [item["onlineSeconds"] for item in items] == [86400 - today, 86400, 86400, today]


async def test_many_transitions_that_sql_does_not_hold_yet_count(site: World) -> None:
    await beat(site, HERE - 20 * MINUTE)
    await monitor(site)
    for minutes in (14, 8, 2):
        await sweep(site, HERE - minutes * MINUTE - 1)
        await beat(site, HERE - minutes * MINUTE)
    items = (await activity(granularity="minute")).body["items"]
    assert [item["onlineSeconds"] for item in items] == [60, 30, 60, 30, 60, 30, 60, 60]
    await monitor(site)
    assert (await activity(granularity="minute")).body["items"] == items


async def test_a_transition_that_sql_does_not_hold_yet_counts(site: World) -> None:
    await beat(site, HERE - 10 * MINUTE)
    await monitor(site)
    await sweep(site, HERE)
    items = (await activity(granularity="minute")).body["items"]
    assert [item["onlineSeconds"] for item in items] == [60, 30]
    await monitor(site)
    assert (await activity(granularity="minute")).body["items"] == items


async def test_buckets_are_whole_where_a_range_begins_or_ends_inside_one(site: World) -> None:
    for minute in range(6):
        await beat(site, HERE - (minute + 1) * MINUTE)
    span = {"from": to_iso(HERE - 4 * MINUTE + 1), "to": to_iso(HERE - 2 * MINUTE + 1)}
    items = (await activity(granularity="minute", **span)).body["items"]
    assert [item["start"] for item in items] == [to_iso(HERE - minute * MINUTE) for minute in (4, 3, 2)]
    span["to"] = to_iso(HERE - 2 * MINUTE)
    assert len((await activity(granularity="minute", **span)).body["items"]) == 2
    span = {"from": to_iso(HERE), "to": to_iso(HERE + DAY)}
    assert (await activity(granularity="minute", **span)).body["items"] == []


async def test_what_happened_before_the_recorded_history_is_not_guessed(site: World) -> None:
    site.monitor_store.record_changes(
        [FacilityChange("f-1", FacilityStatus.OFFLINE, HERE - 3 * MINUTE, 41, 0, "expired")]
    )
    await beat(site, HERE - 5 * MINUTE)
    [item] = (await activity(granularity="minute")).body["items"][:1]
    assert (item["heartbeats"], item["onlineSeconds"]) == (1, None)


async def test_without_redis_there_is_what_sql_holds(site: World) -> None:
    await beat(site, HERE - 2 * MINUTE)
    await monitor(site)
    await beat(site, HERE - MINUTE)
    before = (await activity(granularity="minute")).body["items"]
    away = Redis(port=1)
    site.activity = FacilityActivity(
        site.history_store, ActivityCounters(away), Registry(away, site.settings.sessions.timing), site.now
    )
    items = (await activity(granularity="minute")).body["items"]
    await away.aclose()
    assert [item["heartbeats"] for item in before] == [1, 1]
    assert [item["heartbeats"] for item in items] == [1, 0]
    assert [item["onlineSeconds"] for item in items] == [60, 60]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"granularity": "week"}, "/granularity"),
        ({"granularity": ""}, "/granularity"),
        ({"from": "soon"}, "/from"),
        ({"from": "2026-11-18T00:00:00Z", "to": "2026-11-17T00:00:00Z"}, "/from"),
        ({"granularity": "minute", "from": "2026-11-16T11:00:00Z", "to": "2026-11-17T11:00:00.001Z"}, "/from"),
        ({"granularity": "hour", "from": "2026-10-17T11:00:00Z", "to": "2026-11-17T11:00:00.001Z"}, "/from"),
        ({"granularity": "day", "from": "2025-10-01T00:00:00Z", "to": "2026-11-17T00:00:00Z"}, "/from"),
    ],
)
async def test_bad_parameters_are_pointed_at(site: World, params: dict[str, str], pointer: str) -> None:
    answer = await activity(**params)
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"][0]["pointer"] == pointer


async def test_the_longest_ranges_are_taken(site: World) -> None:
    await beat(site, HERE - 2 * MINUTE)
    for granularity, length in (("minute", DAY), ("hour", 31 * DAY), ("day", 400 * DAY)):
        answer = await activity(granularity=granularity, **{"from": to_iso(HERE - length), "to": to_iso(HERE)})
        assert sum(item["heartbeats"] for item in answer.body["items"]) == 1


async def test_only_who_belongs_to_the_region_may_look(site: World) -> None:
    assert (await activity(token="u-1", facility="f-2")).status == 200
    assert (await activity(token="u-1", facility="f-3")).problem() == (403, "forbidden")
    assert (await activity(token=ADMIN, facility="f-404")).problem() == (404, "not-found")


async def test_without_sql_there_is_no_activity(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world.core_reader = open_core_store(f"sqlite:///{tmp_path}/file/core.db")
    assert (await activity()).problem() == (503, "dependency-unavailable")


async def of_region(token: str = "u-1", region: str = "r-1", **params: str) -> Answer:
    return await call(region_activity, token=token, params=params, regionId=region)


async def test_a_region_is_the_sum_of_its_facilities(site: World) -> None:
    site.monitor_store.record_activity(
        [
            ActivityHour(facility, HERE - HERE % HOUR - hours * HOUR, 1, {0: Counts(heartbeats, 1, left=1)})
            for facility, hours, heartbeats in [("f-1", 0, 3), ("f-2", 0, 4), ("f-1", 1, 5), ("f-3", 0, 1000)]
        ]
    )
    view = await site.directory.view()
    assert {entry.facility_id for entry in view.facilities_in("r-1")} == {"f-1", "f-2"}
    hour = HERE - HERE % HOUR
    ended = {"expired": 0, "left": 1, "ended": 0}
    assert (await of_region()).body["items"] == [
        {"start": to_iso(hour - HOUR), "heartbeats": 5, "sessionsStarted": 1, "sessionsEnded": ended},
        {"start": to_iso(hour), "heartbeats": 7, "sessionsStarted": 2, "sessionsEnded": {**ended, "left": 2}},
    ]
    day = await of_region(granularity="day", **{"from": to_iso(hour - 2 * HOUR)})
    assert sum(item["heartbeats"] for item in day.body["items"]) == 12


async def test_a_region_is_told_without_redis(site: World) -> None:
    site.monitor_store.record_activity([ActivityHour("f-2", HERE - HERE % HOUR, 1, {0: Counts(4, 1)})])
    before = await of_region()
    there, site.redis = site.redis, Redis(port=1)
    site.__dict__.pop("directory", None)  # made anew when it is needed, with a client that reaches nobody
    answer = await of_region()
    refused = await of_region(region="r-2")
    await site.redis.aclose()
    site.redis = there
    assert [item["heartbeats"] for item in before.body["items"]] == [4]
    assert (answer.status, answer.body) == (200, before.body)
    assert refused.problem() == (403, "forbidden")


async def test_without_sql_there_is_no_activity_of_a_region(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world.core_reader = open_core_store(f"sqlite:///{tmp_path}/file/core.db")
    assert (await of_region()).problem() == (503, "dependency-unavailable")


async def test_a_region_that_is_not_the_callers_or_a_range_that_is_too_long_is_refused(site: World) -> None:
    assert (await of_region(region="r-2")).problem() == (403, "forbidden")
    assert (await of_region(token=ADMIN, region="r-9")).problem() == (404, "not-found")
    assert (await of_region(granularity="minute")).problem() == (422, "invalid-request")
    assert (await of_region(**{"from": to_iso(HERE - 32 * DAY)})).problem() == (422, "invalid-request")
    assert (await of_region(token=ADMIN, region="r-2")).body == {"items": []}
