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
from tests.redis_cluster import NODES, running_cluster


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


@pytest.mark.parametrize("errand", ["agent_follower", "agent_announcer"])
async def test_an_errand_comes_to_its_end(world: World, errand: str) -> None:
    """It gives its lease back unless the counter beside it was raised, which one script looks at."""
    await getattr(world, errand).errand.run()


async def test_lost_data_is_restored(world: World) -> None:
    await world.beat("u-1")
    await world.monitor.run()
    await world.broadcaster.close()
    await world.redis.flushall()
    await world.beat("u-2")
    state = await world.state("f-1")
    assert (state.status, state.version) == (FacilityStatus.ONLINE, 1 + VERSION_JUMP)
    assert [stale for stale, _ in await world.announcements()] == [True]


async def copy(node: Redis) -> dict[bytes, bytes]:
    """What a node holds, as its replica may have it when it takes over."""
    return {key: dumped async for key in node.scan_iter() if (dumped := await node.dump(key)) is not None}


@pytest.mark.parametrize("is_older", [False, True], ids=["gone", "older"])
@pytest.mark.parametrize("index", range(NODES))
async def test_what_one_node_loses_is_noticed_and_nothing_goes_back(
    world: World, ports: list[int], index: int, is_older: bool
) -> None:
    async with Redis(port=ports[index]) as node:
        await world.run_on(20_000, beats=["u-1", "u-2", "u-9"])
        older = await copy(node) if is_older else {}
        await world.beat("u-9", leaving=True)
        await world.run_on(20_000, beats=["u-1", "u-2"])
        await world.monitor.run()
        facilities = {name: await world.state(name) for name in ("f-1", "f-2", "f-3")}
        assert [each.version for each in facilities.values()] == [1, 1, 2]
        numbers = {message["regionId"]: message["sequence"] for message in await world.deliver()}
        assert numbers.keys() == {"r-1", "r-2"}
        world.push.sent.clear()

        await node.flushall()
        for key, dumped in older.items():
            await node.restore(key, 0, dumped, replace=True)
        await world.run_on(10_000, beats=["u-1", "u-2"])
    assert [stale for stale, _ in await world.announcements()] == [True]
    for name, before in facilities.items():
        after = await world.state(name)
        assert (after.status, after.version) == (before.status, before.version + VERSION_JUMP)
    await world.run_on(TTL + 20_000, beats=["u-1", "u-2"])
    assert not (await world.watermarks.load()).stale
    for message in await world.deliver():
        assert message["sequence"] > numbers[message["regionId"]]
        numbers[message["regionId"]] = message["sequence"]
    for name, before in facilities.items():
        after = await world.state(name)
        assert (after.status, after.version) == (before.status, before.version + VERSION_JUMP)
    await world.monitor.run()


async def test_the_partitions_are_spread_over_the_nodes(ports: list[int]) -> None:
    cluster: Any = RedisCluster(host="127.0.0.1", port=ports[0])
    nodes = {cluster.get_node_from_key(partition.facilities).port for partition in keys.ALL_PARTITIONS}
    for partition in keys.ALL_PARTITIONS:
        slots = {cluster.keyslot(key) for key in (*partition.script_keys(), partition.sessions("f-1"))}
        assert len(slots) == 1, "a script touches one slot"
    assert len(nodes) == 3
    cluster.close()
