"""From a heartbeat over HTTP to what a browser is told, over separate processes. Each test uses its own facility."""

import asyncio
from typing import Any

import pytest
from azure.messaging.webpubsubclient.aio import WebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType

from tests.e2e.front_ends import ADMIN, DEADLINE, plus
from tests.e2e.system import GRACE, TTL, System, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_first_heartbeat_is_told_as_online(system: System) -> None:
    accepted = await system.people.beat("u-2")
    change = await system.feed.change("f-2", "online")
    assert change == {
        "facilityId": "f-2",
        "status": "online",
        "since": accepted["receivedAt"],
        "version": 1,
        "sessions": 1,
        "reason": "heartbeat",
    }
    assert accepted["expiresAt"] == plus(accepted["receivedAt"], TTL)
    assert (accepted["ttlSeconds"], accepted["intervalSeconds"]) == (TTL, 1)


async def test_microsofts_client_is_told_too(system: System) -> None:
    """As a member of the region, without a role."""
    arrived: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    token = await system.people.token("u-3")
    negotiated = await system.people.call("POST", "/negotiate", token=token)
    assert negotiated.body["regions"] == ["r-1"]

    async def take(event: Any) -> None:
        await arrived.put(event.data)

    async with WebPubSubClient(negotiated.body["url"]) as client:
        await client.subscribe(CallbackType.GROUP_MESSAGE, take)
        accepted = await system.people.beat("u-3")
        async with asyncio.timeout(DEADLINE):
            while not (found := _find(await arrived.get(), "f-3")):
                pass
    assert (found["status"], found["since"]) == ("online", accepted["receivedAt"])


def _find(message: dict[str, Any], facility: str) -> dict[str, Any] | None:
    changes: list[dict[str, Any]] = message.get("changes", [])
    return next((each for each in changes if each["facilityId"] == facility), None)


async def test_silence_is_told_as_offline_since_exactly_the_deadline(system: System) -> None:
    await system.people.beat("u-4")
    last = await system.people.beat("u-4")
    change = await system.feed.change("f-4", "offline")
    assert (change["since"], change["reason"]) == (last["expiresAt"], "expired")
    assert (change["version"], change["sessions"]) == (2, 0)
    shown = await system.people.facility("f-4")
    assert {name: shown[name] for name in change} == change
    assert shown["lastSeen"] == last["receivedAt"]


async def test_leaving_is_told_as_offline_after_the_grace(system: System) -> None:
    await system.people.beat("u-5")
    left = await system.people.leave("u-5")
    change = await system.feed.change("f-5", "offline")
    assert (change["since"], change["reason"], change["version"]) == (plus(left["receivedAt"], GRACE), "left", 2)
    assert left["expiresAt"] == change["since"]


@pytest.mark.parametrize(("user", "session"), [("u-6", "s"), ("u-7", "another")], ids=["same id", "new id"])
async def test_a_page_reload_does_not_flap(system: System, user: str, session: str) -> None:
    facility = user.replace("u", "f")
    await system.people.beat(user)
    await system.people.leave(user)
    last = await system.people.beat(user, session)
    change = await system.feed.change(facility, "offline")
    assert (change["version"], change["since"], change["reason"]) == (2, last["expiresAt"], "expired")


async def test_of_two_sessions_one_leaves_and_nothing_changes(system: System) -> None:
    await system.people.beat("u-8", "stays")
    await system.people.beat("u-8", "goes")
    await system.people.leave("u-8", "goes")
    last = await system.people.beat("u-8", "stays")
    shown = await system.people.facility("f-8")
    assert (shown["status"], shown["version"]) == ("online", 1)
    change = await system.feed.change("f-8", "offline")
    assert (change["version"], change["since"], change["reason"]) == (2, last["expiresAt"], "expired")


async def test_one_that_comes_back_is_new(system: System) -> None:
    await system.people.beat("u-9")
    await system.people.leave("u-9")
    gone = await system.feed.change("f-9", "offline")
    again = await system.people.beat("u-9")
    change = await system.feed.change("f-9", "online", above=gone["version"])
    assert (change["version"], change["since"]) == (3, again["receivedAt"])


async def test_a_user_of_several_facilities_is_present_at_each_or_at_the_one_they_name(system: System) -> None:
    facilities = [row[0] for row in system.core_rows("SELECT facility_id FROM facility_users WHERE user_id = 'u-60'")]
    assert len(facilities) > 1
    held = {each: (await system.people.facility(each))["version"] for each in facilities}
    one, *others = facilities
    await system.people.beat("u-60", "named", facilityId=one)
    await system.feed.change(one, "online", above=held[one])
    assert {each: (await system.people.facility(each))["version"] for each in others} == {
        each: held[each] for each in others
    }
    await system.people.beat("u-60", "all")
    for each in others:
        await system.feed.change(each, "online", above=held[each])


async def test_without_expiry_notifications_the_sweep_still_detects(system: System) -> None:
    await system.redis.config_set("notify-keyspace-events", "")
    try:
        last = await system.people.beat("u-10")
        change = await system.feed.change("f-10", "offline")
    finally:
        await system.redis.config_set("notify-keyspace-events", "Ex")
    assert (change["since"], change["reason"]) == (last["expiresAt"], "expired")


async def test_both_databases_hold_status_and_history_after_the_monitor_ran(system: System) -> None:
    first = await system.people.beat("u-11")
    left = await system.people.leave("u-11")
    assert await system.history("f-11", 2) == [
        (1, "online", first["receivedAt"], "heartbeat"),
        (2, "offline", left["expiresAt"], "left"),
    ]
    status = system.monitor_rows("SELECT status, since, version FROM facility_status WHERE facility_id = 'f-11'")
    assert status == [("offline", left["expiresAt"], 2)]
    query = """SELECT connectivity_status, connectivity_since, connectivity_version FROM facilities
               WHERE facility_id = 'f-11'"""

    async def core() -> bool:  # written a moment after the history
        return system.core_rows(query) == [("offline", left["expiresAt"], 2)]

    await eventually(core, "the core database's status")
    log = "SELECT user_id, session_id, started_at, ended_at, reason FROM session_log WHERE facility_id = 'f-11'"

    async def logged() -> bool:
        return system.monitor_rows(log) == [("u-11", "s", first["receivedAt"], left["expiresAt"], "left")]

    await eventually(logged, "the session log's row")


async def test_the_messages_of_a_region_are_numbered_without_gaps(system: System) -> None:
    """Of everything that the tests before this one have caused."""
    await system.people.beat("u-12")
    await system.feed.change("f-12", "online")
    by_region: dict[str, list[int]] = {}
    for message in (each for each in system.feed.messages if "sequence" in each):
        by_region.setdefault(message["regionId"], []).append(message["sequence"])
    assert by_region
    for numbers in by_region.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_snapshot_holds_what_messages_up_to_its_number_told(system: System) -> None:
    accepted = await system.people.beat("u-13")
    change = await system.feed.change("f-13", "online")
    told = next(each for each in system.feed.messages if change in each.get("changes", ()))
    token = await system.people.token("admin", ADMIN)

    async def snapshot() -> dict[str, Any] | None:
        # One that was taken up to a second ago may be served.
        answer = await system.people.call("GET", f"/regions/{told['regionId']}/facilities", token=token)
        assert answer.status == 200
        return answer.body if answer.body["sequence"] >= told["sequence"] else None

    facilities = (await eventually(snapshot, "a snapshot as new as the message") or {})["facilities"]
    [shown] = [each for each in facilities if each["facilityId"] == "f-13"]
    assert (shown["status"], shown["since"], shown["version"]) == ("online", accepted["receivedAt"], 1)
    assert shown["name"]
