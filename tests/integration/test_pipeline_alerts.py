"""Alerts as the sweep raises them: at their time, and never while nobody's silence is believed."""

from redis.asyncio import Redis

from shared.registry import keys
from tests.integration.pipeline_world import STALE_AFTER, TTL, World
from tests.redis_server import stream_rows

AFTER = 300_000
"""The setting's default."""


async def alerts(world: World) -> list[tuple[str, str, int]]:
    rows = [row for partition in keys.ALL_PARTITIONS for row in await stream_rows(world.redis, partition.changes)]
    return [(row["facility"], row["state"], int(row["since"])) for row in rows if row["kind"] == "alert"]


async def test_the_sweep_announces_at_the_due_time_and_the_recovery(world: World) -> None:
    await world.beat("u-1")
    gone = world.time + TTL
    await world.run_on(TTL + AFTER)
    assert await alerts(world) == []
    await world.sweep_after(1_000)
    assert await alerts(world) == [("f-1", "offline", gone)]
    await world.beat("u-1")
    back = world.time
    assert len(await alerts(world)) == 1, "the sweep announces, no other"
    await world.sweep_after(1_000)
    assert await alerts(world) == [("f-1", "offline", gone), ("f-1", "recovered", back)]


async def test_nothing_is_announced_while_stale_and_what_is_due_right_after_it(world: World) -> None:
    await world.beat("u-1")
    await world.beat("u-2")
    gone = world.time + TTL
    await world.run_on(TTL + AFTER - 20_000)
    await world.beat("u-2", "again")
    world.publisher.held.add("1")
    await world.run_on(STALE_AFTER + 60_000)
    assert (await world.watermarks.load()).stale
    assert await alerts(world) == []
    await world.publisher.release("1")
    await world.run_on(TTL - 10_000)
    assert (await world.watermarks.load()).stale
    assert await alerts(world) == [], "recovery from a stall is stale too"
    await world.run_on(30_000)
    assert not (await world.watermarks.load()).stale
    assert await alerts(world) == [("f-1", "offline", gone)]


async def test_nobody_is_alerted_twice_after_a_loss_of_data(world: World, redis: Redis) -> None:
    await world.beat("u-1")
    await world.run_on(TTL + AFTER + 10_000)
    assert len(await alerts(world)) == 1
    await world.monitor.run()
    await redis.flushall()
    await world.recovery.ensure()
    await world.monitor.run()
    await world.run_on(2 * TTL + AFTER)
    assert await alerts(world) == []
    await world.beat("u-1")
    back = world.time
    await world.sweep_after(1_000)
    assert await alerts(world) == [("f-1", "recovered", back)]


async def test_a_cool_down_outlives_a_loss_of_data(world: World, redis: Redis) -> None:
    await world.beat("u-1")
    await world.run_on(TTL + AFTER + 10_000)
    await world.beat("u-1")
    await world.sweep_after(1_000)
    assert [state for _, state, _ in await alerts(world)] == ["offline", "recovered"]
    await world.monitor.run()
    await redis.flushall()
    await world.recovery.ensure()
    await world.run_on(2 * TTL, beats=["u-1"])
    await world.run_on(TTL + AFTER + 10_000)
    assert (await world.state("f-1")).status == "offline"
    assert await alerts(world) == [], "announced less than an hour ago"
