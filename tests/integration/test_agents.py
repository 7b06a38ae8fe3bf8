"""Agents: from presences and sayings, in any order and any repetition, to one entry and its messages."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.domain.agent import Agent, Saying
from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.heartbeat import AgentStatus, Heartbeat
from shared.domain.instants import to_iso
from shared.domain.session import SessionTiming
from shared.errors import DependencyUnavailableError
from shared.pipeline.agents import TRAFFIC_MAX_AGE, AgentAnnouncer, AgentFollower
from shared.registry import keys
from shared.registry.agents import Agents, Position, position_of
from shared.registry.client import text
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryPublisher
from shared.registry.registry import Registry
from shared.registry.results import UNASSIGNED

TTL, GRACE = 90_000, 5_000
T = 1_700_000_000_000
BUSY, AWAY, AVAILABLE = AgentStatus.BUSY, AgentStatus.AWAY, AgentStatus.AVAILABLE


class Recorder:
    """Takes the place of Web PubSub at the end of the line; can be made to fail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.failing = False

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        if self.failing:
            raise DependencyUnavailableError("webPubSub")
        self.sent.append((group, message))

    async def send_to_user(self, user_id: str, message: dict[str, Any]) -> None:
        await self.send_to_group(f"user {user_id}", message)

    def told(self, target: str) -> list[tuple[Any, ...]]:
        """Returns what a target was told: (status, since), or (session, reason)."""
        return [
            (m["agentStatus"], m["since"]) if m["type"] == "agent.status" else (m["sessionId"], m["reason"])
            for group, m in self.sent
            if group == target
        ]


class World:
    """Everything from a heartbeat to a message, without the stream and the clock."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.registry = Registry(client, SessionTiming(TTL, GRACE))
        self.agents = Agents(client)
        self.push = Recorder()
        self.age = 0
        self.dead_letters = DeadLetters(client)
        self.announcer = AgentAnnouncer(
            client,
            DirectoryCache(client),
            self.push,  # type: ignore[arg-type]
            self.dead_letters,
            self.now,
        )
        self.follower = AgentFollower(client, self.agents, self.dead_letters, self.announcer)

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self.age

    async def hear(
        self, user: str, at: int, facility: str = "f-1", session: str = "s", *, status: AgentStatus | None = None
    ) -> None:
        result = await self.registry.ingest([(facility, Heartbeat(user, session, T + at, None, status))])
        await self.agents.hear(result.said)

    async def sweep(self, watermark: int) -> None:
        for partition in keys.ALL_PARTITIONS:
            await self.registry.sweep(partition, T + watermark)

    async def settle(self) -> None:
        await self.follower.errand.run()
        await self.announcer.errand.idle()

    async def agent(self, user: str = "u-1") -> Agent | None:
        return await self.agents.get(user)

    async def put(self, status: AgentStatus, at: int, user: str = "u-1") -> Agent | None:
        return await self.agents.set_status(Saying(user, T + at, status))


@pytest.fixture
async def world(redis: Redis) -> AsyncIterator[World]:
    # u-1 belongs to f-1 in r-1; u-2 to f-1 and f-2 in both regions.
    facilities = {f"f-{n}": Facility(f"f-{n}", f"c-{n}", "") for n in (1, 2)}
    counties = {f"c-{n}": County(f"c-{n}", f"r-{n}", "") for n in (1, 2)}
    regions = {f"r-{n}": Region(f"r-{n}", "") for n in (1, 2)}
    members = {"u-1": ("f-1",), "u-2": ("f-1", "f-2")}
    directory = Directory(regions, counties, facilities, {"u-1": "One", "u-2": "Two"}, members)
    await DirectoryPublisher(redis, DirectoryCache(redis)).publish(directory, "1")
    world = World(redis)
    yield world
    await world.follower.close()
    await world.announcer.close()


async def test_the_first_status_is_available_since_the_session_began(world: World) -> None:
    await world.hear("u-1", 0)
    assert await world.agent() is None, "not followed yet"
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.since, agent.sessions) == (AVAILABLE, T, 1)
    for target in ("agents-r-1", "user u-1"):
        assert world.push.told(target) == [("available", to_iso(T))]
    assert world.push.told("agents-r-2") == []


async def test_a_user_of_two_regions_is_announced_in_both(world: World) -> None:
    await world.hear("u-2", 0)
    await world.settle()
    for target in ("agents-r-1", "agents-r-2", "user u-2"):
        assert world.push.told(target) == [("available", to_iso(T))]


async def test_a_session_may_begin_with_a_status(world: World) -> None:
    await world.hear("u-1", 0, status=BUSY)
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.since) == (BUSY, T)
    assert world.push.told("agents-r-1") == [("busy", to_iso(T))]


async def test_a_heartbeat_without_a_status_changes_none(world: World) -> None:
    await world.hear("u-1", 0, status=BUSY)
    await world.settle()
    await world.hear("u-1", 30_000)
    await world.hear("u-1", 30_000, session="second")
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.since, agent.sessions) == (BUSY, T, 2)
    assert len(world.push.told("agents-r-1")) == 1


async def test_the_latest_of_heartbeat_and_command_wins(world: World) -> None:
    await world.hear("u-1", 0)
    await world.settle()
    assert await world.put(BUSY, 10_000) == Agent("u-1", BUSY, T + 10_000)
    await world.hear("u-1", 9_000, status=AWAY)
    assert await world.put(AWAY, 9_500) == Agent("u-1", BUSY, T + 10_000), "the later command holds"
    await world.hear("u-1", 30_000, status=AVAILABLE)
    await world.hear("u-1", 60_000, status=AVAILABLE)
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.since) == (AVAILABLE, T + 30_000), "saying it again does not renew `since`"
    assert await world.put(AWAY, 59_999) == Agent("u-1", AVAILABLE, T + 30_000)
    told = world.push.told("agents-r-1")
    assert told[-1] == ("available", to_iso(T + 30_000))


async def test_a_status_survives_a_session_and_goes_with_the_last(world: World) -> None:
    await world.hear("u-1", 0, session="a", status=BUSY)
    await world.hear("u-1", 20_000, session="b")
    await world.settle()
    await world.sweep(100_000)
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.sessions) == (BUSY, 1)
    assert world.push.told("user u-1")[1:] == [("a", "expired")]
    await world.sweep(120_000)
    await world.settle()
    assert await world.agent() is None
    assert world.push.told("agents-r-1")[-1] == ("offline", to_iso(T + 110_000))
    assert set(world.push.told("user u-1")[2:]) == {("b", "expired"), ("offline", to_iso(T + 110_000))}
    await world.hear("u-1", 130_000, session="c")
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.since) == (AVAILABLE, T + 130_000)


async def test_a_session_at_several_facilities_ends_once(world: World) -> None:
    await world.hear("u-2", 0, "f-1")
    await world.hear("u-2", 0, "f-2")
    await world.settle()
    agent = await world.agent("u-2")
    assert agent is not None
    assert agent.sessions == 1
    await world.hear("u-2", 60_000, "f-2")
    await world.sweep(100_000)
    await world.settle()
    assert len(world.push.told("user u-2")) == 1, "it goes on at the other facility"
    await world.sweep(200_000)
    await world.settle()
    assert set(world.push.told("user u-2")[1:]) == {("s", "expired"), ("offline", to_iso(T + 150_000))}


async def test_an_ended_session_is_told_with_its_reason(world: World) -> None:
    await world.hear("u-1", 0)
    await world.settle()
    await world.registry.end_session("u-1", "s", ["f-1"], T + 5_000, T + 60_000)
    await world.settle()
    assert set(world.push.told("user u-1")[1:]) == {("s", "ended"), ("offline", to_iso(T + 5_000))}
    await world.hear("u-1", 6_000, status=BUSY)
    await world.settle()
    assert await world.agent() is None, "nothing brings it back"


async def test_the_unassigned_are_agents_without_a_region(world: World) -> None:
    await world.hear("stranger", 0, UNASSIGNED)
    await world.settle()
    assert await world.agent("stranger") is not None
    assert world.push.sent == [
        (
            "user stranger",
            {"type": "agent.status", "userId": "stranger", "agentStatus": "available", "since": to_iso(T)},
        )
    ]


async def test_a_command_to_somebody_who_is_not_there_does_nothing(world: World) -> None:
    assert await world.put(BUSY, 0) is None
    await world.hear("u-1", 1)
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert agent.status == AVAILABLE


async def test_late_and_repeated_heartbeats_of_a_former_life_say_nothing(world: World) -> None:
    await world.hear("u-1", 0, status=BUSY)
    await world.sweep(95_000)
    await world.hear("u-1", 100_000)
    await world.settle()
    await world.hear("u-1", 0, status=BUSY)
    await world.hear("u-1", 50, session="late", status=BUSY)
    await world.settle()
    agent = await world.agent()
    assert agent is not None
    assert (agent.status, agent.sessions) == (AVAILABLE, 1)


async def test_who_comes_back_never_seems_older_than_their_going(world: World) -> None:
    """A session that began before the end of the former one, but is heard of only afterwards."""
    await world.hear("u-1", 0, session="a")
    await world.settle()
    await world.sweep(90_000)
    await world.settle()
    await world.hear("u-1", 89_000, session="b")
    await world.settle()
    told = world.push.told("agents-r-1")
    assert [status for status, _ in told] == ["available", "offline", "available"]
    assert [since for _, since in told] == sorted({since for _, since in told})


async def test_a_reader_that_dies_halfway_leaves_its_work_to_the_next(world: World) -> None:
    """Entries applied but not deleted are read again, and old ones by a reader that lost its lease unnoticed."""
    await world.hear("u-1", 0)
    stream = keys.partition_of("f-1").presence
    [(entry_id, fields)] = await world.client.xrange(stream) or [(b"", None)]
    await world.settle()
    await world.sweep(90_000)
    await world.settle()
    await world.client.delete(stream)
    await world.client.xadd(stream, dict(fields or {}), id=text(entry_id))  # type: ignore[arg-type]
    await world.settle()
    assert await world.agent() is None
    assert len(world.push.told("agents-r-1")) == 2


async def test_what_could_not_be_sent_is_sent_later_and_agents_are_kept_meanwhile(world: World) -> None:
    world.push.failing = True
    await world.hear("u-1", 0)
    await world.settle()
    assert await world.agent() is not None
    world.push.failing = False
    await world.settle()
    assert world.push.told("agents-r-1") == [("available", to_iso(T))]


async def test_what_people_did_is_told_whenever_it_can_be_but_traffic_not_for_ever(world: World) -> None:
    await world.hear("u-1", 0)
    await world.follower.errand.run()
    await world.follower.close()
    await world.announcer.close()
    await world.put(BUSY, 1)
    world.push.sent.clear()
    world.age = TRAFFIC_MAX_AGE + 5_000
    world.announcer.wake()
    await world.announcer.errand.idle()
    assert ("busy", to_iso(T + 1)) in world.push.told("agents-r-1")
    assert await world.agent() is not None
    for partition in keys.ALL_USER_PARTITIONS:
        assert await world.client.xlen(partition.traffic) == 0


async def test_an_entry_of_an_unknown_kind_is_set_aside(world: World) -> None:
    await world.client.xadd(keys.ALL_PARTITIONS[3].presence, {"from-the-future": "f-1/u-1/s/1/x"})
    await world.client.xadd(keys.ALL_USER_PARTITIONS[3].urgent, {"kind": "from-the-future"})
    await world.hear("u-1", 0)
    await world.settle()
    assert await world.agent() is not None
    assert await world.dead_letters.count() == 2


async def test_a_listing_shows_everybody_once(world: World) -> None:
    users = [f"user-{n}" for n in range(300)]
    await world.registry.ingest([(UNASSIGNED, Heartbeat(user, "s", T)) for user in users])
    await world.follower.errand.run()
    for count in (1, 7, 1_000):
        seen: list[str] = []
        position: Position | None = Position()
        while position is not None:
            batch, position = await world.agents.read(position, count)
            seen += [agent.user_id for agent in batch]
        assert sorted(seen) == sorted(users)
    batch, _ = await world.agents.read(Position(), 1_000)
    middle = batch[150].user_id
    rest, _ = await world.agents.read(position_of(middle), 1_000)
    assert [agent.user_id for agent in rest] == [agent.user_id for agent in batch[151:]]


async def test_an_agent_costs_little(world: World) -> None:
    """One session each: what a bucket of packed entries takes, over its entries."""
    users = [f"user-{n:07d}" for n in range(200_000) if keys.place_of_user(f"user-{n:07d}")[0].number == 0][:12_000]
    users = [user for user in users if keys.place_of_user(user)[1] < 200]
    await world.registry.ingest([(UNASSIGNED, Heartbeat(user, "0123456789abcdef", T)) for user in users])
    while sum([await world.client.xlen(each.presence) for each in keys.ALL_PARTITIONS]):
        await world.follower.errand.run()
    await world.announcer.close()
    buckets = {keys.place_of_user(user)[1] for user in users}
    used = sum([await world.client.memory_usage(keys.ALL_USER_PARTITIONS[0].bucket(bucket)) or 0 for bucket in buckets])
    assert used / len(users) < 48
