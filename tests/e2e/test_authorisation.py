"""What a browser may hear, it was given by `negotiate`: it can take no more for itself."""

from typing import Any

import pytest

from tests.e2e.front_ends import ADMIN
from tests.e2e.system import System

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOBODY = "no.role"


async def test_a_user_hears_their_own_region_and_no_other(system: System) -> None:
    """u-38 belongs to f-38 in r-2, u-1 to f-1 in r-1 alone."""
    [region] = (await regions(system, "u-1"))["regions"]
    assert region["regionId"] == "r-1"
    listener = await system.people.listen("u-1", NOBODY)
    for number, group in enumerate(("region-r-2", "agents-r-1", "agents-r-2")):
        join = {"type": "joinGroup", "group": group, "ackId": 2 * number}
        send = {"type": "sendToGroup", "group": group, "dataType": "json", "data": {}, "ackId": 2 * number + 1}
        await listener.socket.send_json(join)
        await listener.socket.send_json(send)
    await system.people.beat("u-38")
    await system.feed.change("f-38", "online")
    await system.people.beat("u-1")
    await listener.change("f-1", "online")
    assert not listener.changes("f-38")
    assert {each["regionId"] for each in listener.messages if "regionId" in each} == {"r-1"}
    assert all(each["userId"] == "u-1" for each in listener.messages if each["type"] == "agent.status")
    assert {} not in system.feed.messages


async def regions(system: System, user: str) -> dict[str, Any]:
    answer = await system.people.call("GET", "/regions", token=await system.people.token(user))
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/regions/r-2/facilities", None),
        ("GET", "/regions/r-2/counties", None),
        ("GET", "/facilities/f-38", None),
        ("POST", "/negotiate", {"regions": ["r-2"]}),
        ("POST", "/heartbeats", {"heartbeats": []}),
        ("GET", "/agents", None),
        ("PUT", "/agents/u-38/status", {"agentStatus": "busy"}),
        ("DELETE", "/sessions/u-38/tab", None),
    ],
)
async def test_what_is_not_theirs_is_forbidden(system: System, method: str, path: str, body: Any) -> None:
    token = await system.people.token("u-1")
    assert (await system.people.call(method, path, token=token, body=body)).problem() == (403, "forbidden")


@pytest.mark.parametrize("claims", [{"aud": "another"}, {"expiresIn": -1}])
async def test_a_token_that_is_not_for_us_or_over_opens_nothing(system: System, claims: dict[str, Any]) -> None:
    token = await system.people.token("u-1", ADMIN, **claims)
    for path in ("/regions", "/agents"):
        assert (await system.people.call("GET", path, token=token)).problem() == (401, "unauthenticated")
