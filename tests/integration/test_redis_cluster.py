"""The whole pipeline on a real Redis Cluster of three nodes, where the sweep alone detects."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.cluster import RedisCluster

from shared.connections import parse_redis
from shared.domain.agent import Saying
from shared.domain.facility import FacilityStatus
from shared.domain.heartbeat import AgentStatus
from shared.pipeline.recovery import VERSION_JUMP
from shared.registry import keys
from shared.registry.agents import Position
from shared.registry.client import connect
from tests.integration.pipeline_world import TTL, World, make_world
from tests.redis_cluster import running_cluster


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture
async def cluster(ports: list[int]) -> AsyncIterator[Redis]:
    client = connect(parse_redis("Redis", ",".join(f"127.0.0.1:{port}" for port in ports)))
    yield client
    await client.aclose()


@pytest.fixture
async def world(cluster: Redis, tmp_path: Path) -> AsyncIterator[World]:
    await cluster.flushall()
    world = make_world(cluster, tmp_path)
    await world.load_directory()
    yield world
    await world.close()


async def test_sessions_come_and_go_and_reach_browsers_and_sql(world: World) -> None:
    await world.beat("u-1")
    await world.beat("u-9")
    await world.beat("u-9", leaving=True)
    await world.run_on(20_000, beats=["u-1"])
    assert [row[0] for row in await world.changes("f-2")] == ["online", "offline"]
    await world.run_on(TTL + 10_000)
    assert [row[0] for row in await world.changes("f-1")] == ["online", "offline"]
    told = [change for message in await world.deliver() for change in message.get("changes", ())]
    assert {(change["facilityId"], change["status"]) for change in told} >= {("f-1", "offline"), ("f-3", "offline")}
    result = await world.monitor.run()
    assert (result.changes, result.sessions) == (6, 3)
    assert len(world.monitor_rows("SELECT * FROM facility_status_history")) == 6


async def test_a_session_is_ended_at_all_its_facilities(world: World) -> None:
    await world.beat("u-9")
    ended = await world.registry.end_session("u-9", "s", ["f-2", "f-3"], world.time, world.time + 60_000)
    assert (ended.ended, ended.changes) == (2, 2)
    await world.beat("u-9")
    assert (await world.state("f-3")).status is FacilityStatus.OFFLINE


async def test_agents_are_followed_changed_compared_and_told(world: World) -> None:
    await world.beat("u-9")
    agent = await world.agents.set_status(Saying("u-9", world.advance(10), AgentStatus.BUSY))
    assert agent is not None
    assert await world.agent_upkeep.run() == 0
    batch, position = await world.agents.read(Position(), 10)
    assert ([(each.user_id, each.status, each.sessions) for each in batch], position) == ([("u-9", "busy", 1)], None)
    await world.ending.end("u-9", "s")
    await world._settle()
    assert await world.agents.get("u-9") is None
    assert ("u-9", "offline") in [(target, message.get("agentStatus")) for target, message in world.push.unnumbered]


async def test_lost_data_is_restored(world: World) -> None:
    await world.beat("u-1")
    await world.monitor.run()
    await world.broadcaster.close()
    await world.redis.flushall()
    await world.beat("u-2")
    state = await world.state("f-1")
    assert (state.status, state.version) == (FacilityStatus.ONLINE, 1 + VERSION_JUMP)
    assert [stale for stale, _ in await world.announcements()] == [True]


async def test_the_partitions_are_spread_over_the_nodes(ports: list[int]) -> None:
    cluster: Any = RedisCluster(host="127.0.0.1", port=ports[0])
    nodes = {cluster.get_node_from_key(partition.facilities).port for partition in keys.ALL_PARTITIONS}
    for partition in keys.ALL_PARTITIONS:
        slots = {cluster.keyslot(key) for key in (*partition.script_keys(), partition.sessions("f-1"))}
        assert len(slots) == 1, "a script touches one slot"
    assert len(nodes) == 3
    cluster.close()
