"""What the monitor does for agents: repairs, and a new directory told to those whom it concerns."""

from dataclasses import replace

import pytest

from shared.domain.agent import PresenceEvent, PresenceKind, Saying
from shared.domain.directory import Directory
from shared.domain.heartbeat import AgentStatus
from shared.domain.instants import to_iso
from shared.pipeline import agent_upkeep
from shared.registry import keys
from shared.registry.agents import presence
from tests.integration.pipeline_world import DIRECTORY, World


def members(**facilities: tuple[str, ...]) -> Directory:
    """Returns the directory with other memberships, users named u_N."""
    changed = {user.replace("_", "-"): theirs for user, theirs in facilities.items()}
    return replace(DIRECTORY, facilities_of_user={**DIRECTORY.facilities_of_user, **changed})


async def pretend(world: World, user_id: str, facility_id: str, session_id: str) -> None:
    """Makes the agents believe in a session that there is not, as a lost write could."""
    event = PresenceEvent("1-1", PresenceKind.BEGAN, facility_id, user_id, (session_id,), world.time, "heartbeat")
    await world.agents.follow({keys.partition_of(facility_id, user_id): [event]})


async def forget(world: World, user_id: str) -> None:
    """Makes the agents forget a user."""
    partition, bucket = keys.place_of_user(user_id)
    await world.redis.hdel(partition.bucket(bucket), user_id)


async def upkeep(world: World) -> int:
    differing = await world.agent_upkeep.run()
    await world._settle()
    return differing


async def test_where_nothing_differs_nothing_is_said(world: World) -> None:
    await world.beat("u-1")
    await world.beat("u-9")
    await world.beat("stranger")
    assert await upkeep(world) == 0


async def test_a_session_that_there_is_not_is_taken_from_the_agent(world: World) -> None:
    await pretend(world, "u-1", "f-1", "ghost")
    await pretend(world, "u-9", "", "unassigned-ghost")
    assert await upkeep(world) == 2
    assert await world.agents.get_all(["u-1", "u-9"]) == {}
    assert ("agents-r-1", "offline") in [(target, m.get("agentStatus")) for target, m in world.push.unnumbered]
    assert await upkeep(world) == 0


async def test_a_session_of_which_the_agent_does_not_know_is_added(world: World) -> None:
    started = world.time
    await world.beat("u-9", "a")
    await world.beat("u-9", "b", facility="f-3")
    await world.beat("stranger")
    await forget(world, "u-9")
    await forget(world, "stranger")
    assert await upkeep(world) == 3
    agents = await world.agents.get_all(["u-9", "stranger"])
    assert agents["u-9"].presences == {presence("f-2", "a"), presence("f-3", "a"), presence("f-3", "b")}
    assert agents["u-9"].since == started
    assert agents["stranger"].presences == {presence("", "s")}
    assert await upkeep(world) == 0


async def test_one_session_in_place_of_another_is_no_going(world: World) -> None:
    await world.beat("u-1", "real")
    await forget(world, "u-1")
    await pretend(world, "u-1", "f-1", "ghost")
    world.push.unnumbered.clear()
    assert await upkeep(world) == 1
    agent = await world.agents.get("u-1")
    assert agent is not None
    assert agent.presences == {presence("f-1", "real")}
    assert [message for _, message in world.push.unnumbered if message.get("agentStatus") == "offline"] == []


async def test_a_large_system_is_compared_in_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_upkeep, "COMPARED", 1)
    monkeypatch.setattr(agent_upkeep, "FACILITIES", 1)
    for number in range(6):
        await pretend(world, f"ghost-{number}", "f-2", "s")
    await world.beat("u-9", facility="f-3")
    await forget(world, "u-9")
    runs = 0
    while (await world.agents.get("u-9")) is None or await world.agents.get_all([f"ghost-{n}" for n in range(6)]):
        await upkeep(world)
        runs += 1
        assert runs < 60
    assert runs > 3


async def test_words_whose_session_never_came_are_forgotten(world: World) -> None:
    await world.agents.hear([Saying("u-1", world.time, AgentStatus.BUSY)])
    await upkeep(world)
    partition, bucket = keys.place_of_user("u-1")
    assert await world.redis.hexists(partition.bucket(bucket), "u-1")
    world.advance(agent_upkeep.FORGET_AFTER + 1)
    await upkeep(world)
    assert not await world.redis.hexists(partition.bucket(bucket), "u-1")


async def test_a_user_who_leaves_a_region_is_gone_there_and_hears_it_no_more(world: World) -> None:
    await world.beat("u-9")
    world.push.unnumbered.clear()
    await world.load_directory(members(u_9=("f-2",)))
    now = world.advance(1_000)
    await upkeep(world)
    assert world.push.left == [("region-r-2", ["u-9"], "agents-r-2")]
    told = [(target, m["agentStatus"], m["since"]) for target, m in world.push.unnumbered]
    assert set(told) == {
        ("agents-r-2", "offline", to_iso(now)),
        ("agents-r-1", "available", to_iso(now + 1)),
        ("u-9", "available", to_iso(now + 1)),
    }
    agent = await world.agents.get("u-9")
    assert agent is not None
    assert agent.since == now + 1
    world.push.left.clear()
    await upkeep(world)
    assert world.push.left == []


async def test_a_user_who_joins_a_region_is_seen_there_with_the_same_since(world: World) -> None:
    began = world.time
    await world.beat("u-1")
    world.push.unnumbered.clear()
    await world.load_directory(members(u_1=("f-1", "f-3")))
    world.advance(1_000)
    await upkeep(world)
    told = {(target, m["agentStatus"], m["since"]) for target, m in world.push.unnumbered}
    assert told == {(target, "available", to_iso(began)) for target in ("agents-r-1", "agents-r-2", "u-1")}
    assert world.push.left == []


async def test_a_user_who_is_new_is_seen_in_their_region(world: World) -> None:
    await world.beat("u-77")
    world.push.unnumbered.clear()
    await world.load_directory(replace(members(u_77=("f-3",)), users={**DIRECTORY.users, "u-77": "New"}))
    await upkeep(world)
    assert {target for target, _ in world.push.unnumbered} == {"agents-r-2", "u-77"}


async def test_a_user_who_is_removed_is_gone_from_their_regions(world: World) -> None:
    await world.beat("u-1")
    world.push.unnumbered.clear()
    users = {user: name for user, name in DIRECTORY.users.items() if user != "u-1"}
    theirs = {user: each for user, each in DIRECTORY.facilities_of_user.items() if user != "u-1"}
    await world.load_directory(replace(DIRECTORY, users=users, facilities_of_user=theirs))
    await upkeep(world)
    assert world.push.left == [("region-r-1", ["u-1"], "agents-r-1")]
    assert ("agents-r-1", "offline") in [(target, m["agentStatus"]) for target, m in world.push.unnumbered]


async def test_a_facility_that_moves_takes_its_people_along(world: World) -> None:
    facilities = dict(DIRECTORY.facilities) | {"f-1": replace(DIRECTORY.facilities["f-1"], county_id="c-2")}
    await world.load_directory(replace(DIRECTORY, facilities=facilities))
    await upkeep(world)
    assert world.push.left == [("region-r-1", ["u-1"], "agents-r-1")]
    assert world.push.unnumbered == [], "nobody of them is online"


async def test_a_move_that_was_taken_back_concerns_nobody(world: World) -> None:
    await world.load_directory(members(u_9=("f-2",)))
    await world.load_directory(DIRECTORY)
    await upkeep(world)
    assert world.push.left == []
