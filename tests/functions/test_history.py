"""`GET /facilities/{facilityId}/history`: from SQL alone, page by page."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from functions.facility_history import facility_history
from shared.cursors import Cursors
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.instants import to_iso
from shared.history import FacilityHistory
from shared.store.opening import open_core_store, open_history_store, open_monitor_store
from shared.store.ports import StaleMark
from tests.functions.conftest import DIRECTORY, NOW, Answer, World, call
from tests.integration.store_databases import execute

HOUR = 3_600_000
ADMIN = "boss,presence.admin"


@pytest.fixture
async def sql(world: World, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose databases are there; Redis is not needed and therefore away."""
    address = f"sqlite:///{tmp_path}/pulse.db"
    world.monitor_store = open_monitor_store(address)
    world.core_reader = open_core_store(address)
    world.core_reader.migrate()
    world.core_reader.replace_directory(DIRECTORY)
    world.history_store = open_history_store(address, world.now)
    world.history = FacilityHistory(world.history_store, Cursors("key"), world.now)
    # Made anew when it is needed, with a client that reaches nobody.
    for name in ("directory", "registry", "watermarks", "snapshots"):
        world.__dict__.pop(name, None)
    there, world.redis = world.redis, Redis(port=1)
    yield world
    await world.redis.aclose()
    world.redis = there
    world.monitor_store.close()
    world.core_reader.close()
    world.history_store.close()


def record(world: World, *instants: int, first: int = 1, facility: str = "f-1") -> None:
    """Turns the facility online, offline, online… at the given instants (ms before NOW)."""
    world.monitor_store.migrate()
    world.monitor_store.record_changes(
        [
            FacilityChange(facility, FacilityStatus.ONLINE, NOW - before, version, 1, "heartbeat")
            if (version - first) % 2 == 0
            else FacilityChange(facility, FacilityStatus.OFFLINE, NOW - before, version, 0, "left")
            for version, before in enumerate(instants, first)
        ]
    )


async def history(token: str = "u-1", facility: str = "f-1", **params: str) -> Answer:
    return await call(facility_history, token=token, params=params, facilityId=facility)


async def test_a_facility_that_was_never_online(sql: World) -> None:
    answer = await history(facility="f-2")
    assert (answer.status, answer.body) == (200, {"items": [], "cursor": None, "uptime": 0.0, "staleSeconds": 0.0})


async def test_the_last_day_newest_first_with_its_uptime(sql: World) -> None:
    record(sql, 30 * HOUR, 25 * HOUR, 12 * HOUR, 6 * HOUR)
    body = (await history()).body
    assert body["items"] == [
        {"version": 4, "status": "offline", "at": to_iso(NOW - 6 * HOUR), "reason": "left"},
        {"version": 3, "status": "online", "at": to_iso(NOW - 12 * HOUR), "reason": "heartbeat"},
    ]
    assert (body["cursor"], body["uptime"]) == (None, 0.25)


async def test_the_state_before_the_range_counts_in_it(sql: World) -> None:
    record(sql, 30 * HOUR, HOUR)
    body = (await history(**{"from": to_iso(NOW - 4 * HOUR), "to": to_iso(NOW - 2 * HOUR)})).body
    assert (body["items"], body["uptime"]) == ([], 1.0)
    assert (await history(**{"from": to_iso(NOW - 4 * HOUR)})).body["uptime"] == 0.75


async def test_time_that_has_not_come_yet_is_not_counted(sql: World) -> None:
    record(sql, HOUR)
    span = {"from": to_iso(NOW - 2 * HOUR), "to": to_iso(NOW + 99 * HOUR)}
    assert (await history(**span)).body["uptime"] == 0.5
    span = {"from": to_iso(NOW + HOUR), "to": to_iso(NOW + 2 * HOUR)}
    assert (await history(**span)).body["uptime"] is None
    span = {"from": to_iso(NOW), "to": to_iso(NOW)}
    assert (await history(**span)).body["uptime"] is None


async def test_stale_time_is_reported_and_counts_neither_way(sql: World) -> None:
    record(sql, 10 * HOUR, 5 * HOUR)
    sql.monitor_store.record_changes(
        [],
        [
            *(StaleMark(stale=True, at=NOW - 8 * HOUR, cause="stalled"), StaleMark(stale=False, at=NOW - 6 * HOUR)),
            *(StaleMark(stale=True, at=NOW - 7 * HOUR, cause="stalled"), StaleMark(stale=False, at=NOW - 4 * HOUR)),
            StaleMark(stale=True, at=NOW - HOUR, cause="stalled"),
        ],
    )
    body = (await history(**{"from": to_iso(NOW - 10 * HOUR)})).body
    # Online from -10 to -8, offline from -4 to -1; from -8 to -4 and since -1 nobody knows.
    assert (body["uptime"], body["staleSeconds"]) == (0.4, 5 * 3600)
    body = (await history(**{"from": to_iso(NOW - HOUR)})).body
    assert (body["uptime"], body["staleSeconds"]) == (None, 3600)


async def test_what_was_before_a_pruned_history_is_not_guessed(sql: World) -> None:
    record(sql, 10 * HOUR, 5 * HOUR, first=7)
    body = (await history(**{"from": to_iso(NOW - 20 * HOUR)})).body
    assert body["uptime"] == 0.5


async def pages(**params: str) -> list[dict[str, Any]]:
    found = [(await history(**params)).body]
    while found[-1]["cursor"]:
        params["cursor"] = found[-1]["cursor"]
        found.append((await history(**params)).body)
    return found


async def test_pages_meet_and_agree_on_the_uptime_while_time_goes_on(sql: World) -> None:
    record(sql, *(before * HOUR for before in range(20, 0, -1)))
    first = (await history(limit="7")).body
    record(sql, 0, first=21)
    sql.time += 5 * HOUR
    second = (await history(limit="7", cursor=first["cursor"])).body
    third = (await history(limit="100", cursor=second["cursor"])).body
    versions = [item["version"] for page in (first, second, third) for item in page["items"]]
    assert versions == list(range(20, 0, -1))
    assert first["uptime"] == second["uptime"] == third["uptime"]
    assert third["cursor"] is None


@pytest.mark.parametrize("limit", ["1", "2", "5", "20", "1000"])
async def test_any_page_size_gives_the_same_list(sql: World, limit: str) -> None:
    record(sql, *(HOUR for _ in range(5)))
    assert [item["version"] for page in await pages(limit=limit) for item in page["items"]] == [5, 4, 3, 2, 1]


async def test_a_cursor_belongs_to_its_facility_and_range(sql: World) -> None:
    record(sql, 3 * HOUR, 2 * HOUR, HOUR)
    span = {"from": to_iso(NOW - 4 * HOUR), "to": to_iso(NOW)}
    cursor = (await history(limit="1", **span)).body["cursor"]
    assert (await history(limit="1", cursor=cursor, **span)).status == 200
    assert (await history(facility="f-2", cursor=cursor)).problem() == (422, "invalid-request")
    for name in span:
        answer = await history(cursor=cursor, **{name: to_iso(NOW - 2 * HOUR)})
        assert answer.problem() == (422, "invalid-request")
        assert answer.body["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"limit": "ten"}, "/limit"),
        ({"from": "yesterday"}, "/from"),
        ({"to": "2026-02-30T00:00:00Z"}, "/to"),
        ({"from": "2026-02-02T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, "/from"),
        ({"cursor": "AAAA"}, "/cursor"),
        ({"cursor": ""}, "/cursor"),
        ({"limit": ""}, "/limit"),
        ({"from": ""}, "/from"),
        ({"to": ""}, "/to"),
    ],
)
async def test_bad_parameters_are_pointed_at(sql: World, params: dict[str, str], pointer: str) -> None:
    answer = await history(**params)
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"][0]["pointer"] == pointer


async def test_only_who_belongs_to_the_region_may_look(sql: World) -> None:
    assert (await history(token="u-1", facility="f-2")).status == 200
    assert (await history(token="u-1", facility="f-3")).problem() == (403, "forbidden")
    assert (await history(token="u-0", facility="f-1")).problem() == (403, "forbidden")
    assert (await history(token=ADMIN, facility="f-3")).status == 200
    for token in ("u-1", ADMIN):
        assert (await history(token=token, facility="f-404")).problem() == (404, "not-found")


async def test_before_the_first_monitor_run_nothing_is_known_yet(world: World, tmp_path: Path) -> None:
    world.core_reader = open_core_store(f"sqlite:///{tmp_path}/core.db")
    assert (await history(token=ADMIN)).problem() == (404, "not-found")
    world.core_reader.close()


async def test_a_database_of_a_newer_version_is_told_as_unavailable(
    sql: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(sql, HOUR)
    execute(
        f"sqlite:///{tmp_path}/pulse.db",
        "INSERT INTO schema_migrations (name, applied_at) VALUES ('0999_future', '2030-01-01T00:00:00.000Z')",
    )
    answer = await history()
    assert answer.problem() == (503, "dependency-unavailable")
    assert answer.headers["Retry-After"] == "2"
    logged = re.search(r"logged under ([0-9a-f]{32})", answer.body["detail"])
    assert logged is not None
    assert f"under {logged[1]}" in caplog.text
    assert "0999_future" in caplog.text
    assert "0999_future" not in answer.raw.decode()


async def test_without_sql_there_is_no_history(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world.core_reader = open_core_store(f"sqlite:///{tmp_path}/file/core.db")
    answer = await history()
    assert answer.problem() == (503, "dependency-unavailable")
    assert answer.headers["Retry-After"] == "2"
