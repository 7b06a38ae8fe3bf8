"""Agents over two hosts: who is there, what they are, and the end of a session, told and seen wherever one asks."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.front_ends import ADMIN, Answer, Listener, plus
from tests.e2e.system import SETTINGS, System, eventually, running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    settings = {**SETTINGS, "SESSION_TTL_SECONDS": "6"}
    async with running_system(tmp_path_factory.mktemp("agents"), settings, hosts=2) as system:
        yield system


async def ask(system: System, method: str, path: str, *, host: int = 0, body: Any = None) -> Answer:
    """Calls as an administrator."""
    return await system.people.call(method, path, token=await system.people.token("admin", ADMIN), host=host, body=body)


async def shown(system: System, user: str, host: int) -> dict[str, Any] | None:
    """The agent as a host lists them, or None."""
    answer = await ask(system, "GET", "/agents", host=host)
    assert answer.status == 200, answer
    return next((item for item in answer.body["items"] if item["userId"] == user), None)


async def told(listener: Listener, user: str, status: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        found = (each for each in listener.messages if each["type"] == "agent.status" and each["userId"] == user)
        return next((each for each in found if each["agentStatus"] == status), None)

    return await listener.until(find, f"{user} {status}")


async def ended(listener: Listener, session: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        found = (each for each in listener.messages if each["type"] == "session.ended")
        return next((each for each in found if each["sessionId"] == session), None)

    return await listener.until(find, f"the end of {session}")


async def test_an_agent_comes_changes_and_goes(system: System) -> None:
    user = await system.people.listen("u-21", "nobody")
    beat = await system.people.beat("u-21", "tab")
    for listener in (system.feed, user):
        available = await told(listener, "u-21", "available")
        assert available["since"] == beat["receivedAt"]
    for host in (0, 1):
        agent = await shown(system, "u-21", host)
        assert agent is not None
        assert (agent["agentStatus"], agent["sessions"]) == ("available", 1)
        assert (agent["since"], agent["lastSeen"]) == (beat["receivedAt"], beat["receivedAt"])
        assert "f-21" in agent["facilityIds"]

    answer = await ask(system, "PUT", "/agents/u-21/status", host=0, body={"agentStatus": "busy"})
    assert answer.status == 200, answer
    agent = await shown(system, "u-21", 1)
    assert agent is not None
    assert (agent["agentStatus"], agent["since"]) == ("busy", answer.body["since"])
    for listener in (system.feed, user):
        assert (await told(listener, "u-21", "busy"))["since"] == answer.body["since"]

    last = await system.people.beat("u-21", "tab", host=1)
    for listener in (system.feed, user):
        assert (await told(listener, "u-21", "offline"))["since"] == last["expiresAt"]
    assert (await ended(user, "tab"))["reason"] == "expired"
    assert await shown(system, "u-21", 0) is None
    answer = await ask(system, "PUT", "/agents/u-21/status", body={"agentStatus": "busy"})
    assert answer.problem() == (404, "agent-not-online")


async def test_an_agent_says_it_in_a_heartbeat_to_another_host(system: System) -> None:
    await system.people.beat("u-22", "tab")
    await told(system.feed, "u-22", "available")
    beat = await system.people.beat("u-22", "tab", host=1, agentStatus="away")
    assert (await told(system.feed, "u-22", "away"))["since"] == beat["receivedAt"]
    await system.people.beat("u-22", "second", host=0)

    async def two() -> bool:
        agent = await shown(system, "u-22", 0)
        return agent is not None and agent["sessions"] == 2

    await eventually(two, "two sessions of one agent")
    agent = await shown(system, "u-22", 1)
    assert agent is not None
    assert agent["agentStatus"] == "away"


async def test_a_session_ended_on_one_host_is_refused_by_the_other_within_five_seconds(system: System) -> None:
    user = await system.people.listen("u-23", "nobody")
    await system.people.beat("u-23", "tab", host=0)
    await system.people.beat("u-23", "other", host=1)
    await told(system.feed, "u-23", "available")
    version = (await system.feed.change("f-23", "online"))["version"]

    began = time.monotonic()
    assert (await ask(system, "DELETE", "/sessions/u-23/tab", host=0)).status == 204
    assert (await refused(system, "u-23", "tab", host=0)) == (410, "session-ended"), "its own at once"
    while await refused(system, "u-23", "tab", host=1) != (410, "session-ended"):
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.1)
    assert (await ended(user, "tab"))["reason"] == "ended"
    assert (await refused(system, "u-23", "other", host=1)) is None, "another session of the user goes on"
    assert (await ask(system, "DELETE", "/sessions/u-23/tab", host=1)).status == 204

    assert (await ask(system, "DELETE", "/sessions/u-23/other", host=1)).status == 204
    offline = await told(system.feed, "u-23", "offline")
    change = await system.feed.change("f-23", "offline", above=version)
    assert (change["reason"], change["since"]) == ("ended", offline["since"])


async def refused(system: System, user: str, session: str, host: int) -> tuple[int, str] | None:
    token = await system.people.token(user)
    answer = await system.people.call("POST", "/heartbeat", token=token, body={"sessionId": session}, host=host)
    return None if answer.status == 202 else answer.problem()


async def test_only_the_user_and_administrators_have_a_say(system: System) -> None:
    await system.people.beat("u-24", "tab")
    await told(system.feed, "u-24", "available")
    stranger, user = await system.people.token("u-25"), await system.people.token("u-24")
    for method, path, body in (
        ("GET", "/agents", None),
        ("PUT", "/agents/u-24/status", {"agentStatus": "busy"}),
        ("DELETE", "/sessions/u-24/tab", None),
    ):
        answer = await system.people.call(method, path, token=stranger, body=body)
        assert answer.problem() == (403, "forbidden")
    answer = await system.people.call("PUT", "/agents/u-24/status", token=user, body={"agentStatus": "away"}, host=1)
    assert answer.body["agentStatus"] == "away"
    assert (await system.people.call("DELETE", "/sessions/u-24/tab", token=user, host=1)).status == 204
    await told(system.feed, "u-24", "offline")


async def test_those_who_are_no_administrators_hear_of_nobody_else(system: System) -> None:
    neighbour = await system.people.listen("u-26", "nobody")
    beat = await system.people.beat("u-26", "tab")
    await system.people.beat("u-27", "tab", facilityId="f-27")
    await told(neighbour, "u-26", "available")
    await told(system.feed, "u-27", "available")
    assert {each["userId"] for each in neighbour.messages if each["type"] == "agent.status"} == {"u-26"}
    assert plus(beat["receivedAt"], 6) == beat["expiresAt"]
