"""`GET /agents`, `PUT /agents/{userId}/status` and `DELETE /sessions/{userId}/{sessionId}`."""

import base64
from typing import Any

import pytest

from functions.agent_status import agent_status
from functions.agents import agents
from functions.end_session import end_session
from functions.heartbeat import heartbeat
from shared.domain.heartbeat import AgentStatus, Heartbeat
from shared.domain.instants import to_iso
from shared.registry import keys
from tests.functions.conftest import NOW, Answer, World, call

ADMIN = "boss,presence.admin"
DAY = 24 * 3600 * 1000


async def bring_online(
    world: World,
    user_id: str = "u-1",
    facility_id: str = "f-1",
    session_id: str = "s-1",
    at: int = NOW,
    status: AgentStatus | None = None,
) -> None:
    result = await world.registry.ingest([(facility_id, Heartbeat(user_id, session_id, at, None, status))])
    await world.agents.hear(result.said)
    await world.agent_follower.errand.run()


async def told(world: World) -> list[tuple[str, dict[str, Any]]]:
    await world.agent_follower.errand.idle()
    await world.agent_announcer.errand.idle()
    return world.push.sent


async def put(user_id: str, status: object, token: str = ADMIN) -> Answer:
    return await call(agent_status, "PUT", token=token, body={"agentStatus": status}, userId=user_id)


async def end(user_id: str, session_id: str = "s-1", token: str = ADMIN) -> Answer:
    return await call(end_session, "DELETE", token=token, userId=user_id, sessionId=session_id)


async def listed(**params: str) -> list[str]:
    answer = await call(agents, token=ADMIN, params=params)
    assert answer.status == 200, answer.raw
    return sorted(item["userId"] for item in answer.body["items"])


async def test_an_agent_is_listed_with_all_there_is_to_know(world: World) -> None:
    await bring_online(world, "u-9", "f-2", "a", status=AgentStatus.BUSY)
    await bring_online(world, "u-9", "f-3", "a", NOW + 500)
    await bring_online(world, "u-9", "f-3", "b", NOW + 1_000)
    answer = await call(agents, token=ADMIN)
    assert (answer.status, answer.body) == (
        200,
        {
            "items": [
                {
                    "userId": "u-9",
                    "name": "Nine",
                    "facilityIds": ["f-2", "f-3"],
                    "sessions": 2,
                    "sessionIds": ["a", "b"],
                    "agentStatus": "busy",
                    "since": to_iso(NOW),
                    "lastSeen": to_iso(NOW + 1_000),
                }
            ],
            "cursor": None,
        },
    )


async def test_somebody_whom_the_directory_does_not_know_is_listed_too(world: World) -> None:
    await bring_online(world, "stranger@home|x", "")
    [item] = (await call(agents, token=ADMIN)).body["items"]
    assert (item["userId"], item["name"], item["facilityIds"]) == ("stranger@home|x", None, [])
    assert (item["lastSeen"], len(item["sessionIds"])) == (to_iso(NOW), 1)


async def test_agents_are_for_administrators(world: World) -> None:
    assert (await call(agents, token="u-1")).problem() == (403, "forbidden")
    assert (await call(agents, token="gateway,presence.gateway")).problem() == (403, "forbidden")


async def test_agents_are_filtered_by_region_facility_and_status(world: World) -> None:
    await bring_online(world, "u-1", "f-1")
    await bring_online(world, "u-9", "f-3", status=AgentStatus.AWAY)
    assert await listed() == ["u-1", "u-9"]
    assert await listed(regionId="r-1") == ["u-1", "u-9"], "u-9 belongs to f-2 there"
    assert await listed(regionId="r-2") == ["u-9"]
    assert await listed(facilityId="f-1") == ["u-1"]
    assert await listed(status="available") == ["u-1"]
    assert await listed(status="away", regionId="r-2", facilityId="f-3") == ["u-9"]
    assert await listed(status="busy") == await listed(regionId="r-404") == []


async def test_pages_hold_everybody_once(world: World) -> None:
    users = {f"user-{n}" for n in range(45)}
    await world.registry.ingest([("", Heartbeat(user, "s", NOW)) for user in users])
    await world.agent_follower.errand.run()
    for limit in ("1", "7", "45", "1000"):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await call(agents, token=ADMIN, params={"limit": limit} | cursor)).body
            found += [item["userId"] for item in page["items"]]
            assert len(page["items"]) <= int(limit)
            if page["cursor"] is None:
                break
            cursor = {"cursor": page["cursor"]}
        assert sorted(found) == sorted(users)


async def test_a_cursor_goes_on_with_its_own_filters_only(world: World) -> None:
    for user_id in ("u-1", "u-9"):
        await bring_online(world, user_id, "f-2")
    params = {"limit": "1", "regionId": "r-1"}
    cursor = {"cursor": (await call(agents, token=ADMIN, params=params)).body["cursor"]}
    assert (await call(agents, token=ADMIN, params=params | cursor | {"limit": "2"})).status == 200
    for other in ({"regionId": "r-2"}, {"status": "busy"}, {"facilityId": "f-2"}):
        answer = await call(agents, token=ADMIN, params=params | cursor | other)
        assert answer.problem() == (422, "invalid-request")
        assert [error["pointer"] for error in answer.body["errors"]] == ["/cursor"]
    assert (await call(agents, token=ADMIN, params=cursor)).problem() == (422, "invalid-request")


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"limit": "1_0"}, "/limit"),
        ({"limit": "ten"}, "/limit"),
        ({"limit": ""}, "/limit"),
        ({"status": "offline"}, "/status"),
        ({"status": ""}, "/status"),
        ({"regionId": "a b"}, "/regionId"),
        ({"facilityId": ""}, "/facilityId"),
        ({"cursor": "nonsense"}, "/cursor"),
        ({"cursor": base64.urlsafe_b64encode(b"0/1024/").decode()}, "/cursor"),
        ({"cursor": "é"}, "/cursor"),
    ],
)
async def test_a_bad_parameter_is_pointed_at(world: World, params: dict[str, str], pointer: str) -> None:
    answer = await call(agents, token=ADMIN, params=params)
    assert answer.problem() == (422, "invalid-request")
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


@pytest.mark.parametrize("token", ["u-9", ADMIN])
async def test_a_status_is_set_by_the_user_or_an_administrator(world: World, token: str) -> None:
    await bring_online(world, "u-9", "f-2")
    await told(world)
    world.push.sent.clear()
    world.time += 5_000
    answer = await put("u-9", "away", token)
    assert (answer.status, answer.body) == (
        200,
        {"userId": "u-9", "agentStatus": "away", "since": to_iso(NOW + 5_000)},
    )
    message = {"type": "agent.status", "userId": "u-9", "agentStatus": "away", "since": to_iso(NOW + 5_000)}
    targets = {target for target, sent in await told(world) if sent == message}
    assert targets == {"user u-9", "group agents-r-1", "group agents-r-2"}
    again = await put("u-9", "away", token)
    assert again.body == answer.body


async def test_a_later_heartbeat_outweighs_a_command(world: World) -> None:
    await bring_online(world, at=NOW + 10, status=AgentStatus.BUSY)
    answer = await put("u-1", "away")
    assert (answer.status, answer.body["agentStatus"]) == (200, "busy")


async def test_who_is_not_online_has_no_status(world: World) -> None:
    assert (await put("u-1", "busy")).problem() == (404, "agent-not-online")
    assert (await put("nobody", "busy")).problem() == (404, "agent-not-online")


async def test_a_status_or_session_of_another_user_is_not_ones_own(world: World) -> None:
    await bring_online(world)
    assert (await put("u-1", "busy", "u-9")).problem() == (403, "forbidden")
    assert (await end("u-1", token="u-9")).problem() == (403, "forbidden")
    assert (await end("u-1", token="gateway,presence.gateway")).problem() == (403, "forbidden")
    assert await listed() == ["u-1"]


async def test_what_a_caller_sends_is_read_before_what_they_may_do(world: World) -> None:
    assert (await put("u-1", "asleep", "u-9")).problem() == (422, "invalid-request")


@pytest.mark.parametrize("status", ["offline", "asleep", "", None, 1, ["busy"]])
async def test_a_bad_status_is_refused(world: World, status: object) -> None:
    await bring_online(world)
    answer = await put("u-1", status)
    assert answer.problem() == (422, "invalid-request")
    assert [error["pointer"] for error in answer.body["errors"]] == ["/agentStatus"]


async def test_a_session_is_ended_everywhere_for_a_day(world: World) -> None:
    await bring_online(world, "u-9", "f-2")
    await bring_online(world, "u-9", "f-3")
    await told(world)
    world.push.sent.clear()
    world.time += 1_000
    answer = await end("u-9", token="u-9")
    assert (answer.status, answer.raw) == (204, b"")
    states = await world.registry.facility_states(["f-2", "f-3"])
    assert [(state.status, state.reason, state.since) for state in states] == [("offline", "ended", NOW + 1_000)] * 2
    since = to_iso(NOW + 1_000)
    offline = {"type": "agent.status", "userId": "u-9", "agentStatus": "offline", "since": since}
    news = await told(world)
    assert ("user u-9", {"type": "session.ended", "sessionId": "s-1", "reason": "ended"}) in news
    assert {target for target, sent in news if sent == offline} == {
        "user u-9",
        "group agents-r-1",
        "group agents-r-2",
    }
    assert await listed() == []
    world.time = NOW + 1_000 + DAY
    answer = await call(heartbeat, "POST", token="u-9", body={"sessionId": "s-1"})
    assert answer.problem() == (410, "session-ended")
    world.time += 1
    assert (await call(heartbeat, "POST", token="u-9", body={"sessionId": "s-1"})).status == 202
    assert (await world.registry.ingest([("f-2", Heartbeat("u-9", "s-1", NOW + 1_000 + DAY))])).ended == 1


async def test_ending_is_always_answered_alike(world: World) -> None:
    await bring_online(world)
    for user_id, session_id in (("u-1", "s-1"), ("u-1", "s-1"), ("u-1", "unknown"), ("nobody", "s-1")):
        assert (await end(user_id, session_id)).status == 204


async def test_other_sessions_of_the_user_go_on(world: World) -> None:
    await bring_online(world, status=AgentStatus.BUSY)
    await bring_online(world, session_id="s-2")
    assert (await end("u-1")).status == 204
    await told(world)
    [item] = (await call(agents, token=ADMIN)).body["items"]
    assert (item["sessions"], item["agentStatus"]) == (1, "busy")


async def test_a_session_at_a_facility_that_is_no_longer_the_users_is_ended_too(world: World) -> None:
    await bring_online(world, "u-1", "f-3")
    await end("u-1")
    [state] = await world.registry.facility_states(["f-3"])
    assert (state.status, state.sessions) == ("offline", 0)


async def test_ids_are_percent_encoded_in_paths(world: World) -> None:
    user_id = "a+b@x.y|z:1=-"
    await bring_online(world, user_id, "")
    encoded = "a%2Bb%40x.y%7Cz%3A1%3D-"
    assert (await put(encoded, "busy", user_id)).body["userId"] == user_id
    assert (await put(user_id, "away", user_id)).status == 200
    assert (await end(encoded, token=user_id)).status == 204
    assert await listed() == []


@pytest.mark.parametrize("user_id", ["", "a b", "a%2Fb", "%00", "x" * 129, "é"])
async def test_what_is_no_user_id_is_not_found(world: World, user_id: str) -> None:
    assert (await put(user_id, "busy")).problem() == (404, "not-found")


@pytest.mark.parametrize("odd", ["a b", "a%2Fb", "%00", "%ff", "%", "%25", "x" * 200, "é", "{}", "a%0Ab"])
async def test_ending_what_cannot_be_is_answered_alike(world: World, odd: str) -> None:
    await bring_online(world)
    for _ in range(2):
        assert (await end("u-1", odd, token="u-1")).status == 204
        assert (await end("u-1", odd)).status == 204
        assert (await end(odd, odd)).status == 204
        assert (await end("u-9", odd, token="u-1")).problem() == (403, "forbidden")
        assert (await end(odd, token="u-1")).problem() == (403, "forbidden")
    assert await world.redis.zcard(keys.ALL_PARTITIONS[0].ended_ids) == 0
    assert await listed() == ["u-1"]


async def test_without_a_directory_a_session_can_still_be_ended(world: World) -> None:
    await world.redis.delete(keys.DIRECTORY_GENERATION)
    assert (await end("u-1")).status == 204
    assert (await call(agents, token=ADMIN)).problem() == (503, "dependency-unavailable")
