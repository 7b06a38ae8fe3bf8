"""After a loss of Redis data: versions jump, states are as they were, nobody is taken for offline too early."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityStatus
from shared.errors import DependencyUnavailableError
from shared.pipeline.recovery import VERSION_JUMP
from shared.registry import keys
from shared.registry.keys import partition_of
from tests.integration.pipeline_world import GRACE, TTL, World, make_world


async def lose_everything(world: World) -> int:
    """Empties Redis as a failed server would; returns the time at which the pipeline finds out."""
    await world.broadcaster.close()
    await world.redis.flushall()
    return world.advance(5_000)


@pytest.fixture
async def recorded(world: World) -> World:
    """f-1 and f-2 are online, f-3 was and is offline; SQL knows it, the session (u-9, gone) is ended by command."""
    for user in ("u-1", "u-2"):
        await world.beat(user)
    await world.beat("u-9", facility="f-3")
    await world.beat("u-9", facility="f-3", leaving=True)
    await world.sweep_after(GRACE + 1_000)
    await world.registry.end_session("u-9", "gone", ["f-2"], world.time, world.time + 3_600_000)
    await world.monitor.run()
    assert [(await world.state(f"f-{n}")).version for n in (1, 2, 3)] == [1, 1, 2]
    return world


async def test_states_return_from_sql_with_versions_ahead_of_any_used_before(recorded: World) -> None:
    before = [await recorded.state(f"f-{n}") for n in (1, 2, 3)]
    await lose_everything(recorded)
    await recorded.recovery.ensure()
    after = [await recorded.state(f"f-{n}") for n in (1, 2, 3)]
    for old, new in zip(before, after, strict=True):
        assert (new.status, new.since, new.reason) == (old.status, old.since, old.reason)
        assert new.version == old.version + VERSION_JUMP


async def test_the_loss_is_announced_as_stale_and_those_heard_again_never_ended(recorded: World) -> None:
    online_since = (await recorded.state("f-1")).since
    stopped_at = (await recorded.watermarks.load()).watermark
    await lose_everything(recorded)
    await recorded.monitor.run()
    assert await recorded.announcements() == [(True, stopped_at)]

    await recorded.run_on(TTL, beats=["u-1"])
    assert await recorded.changes("f-2") == []
    await recorded.run_on(20_000, beats=["u-1"])
    assert await recorded.changes("f-1") == []
    state = await recorded.state("f-1")
    assert (state.status, state.since, state.version) == (FacilityStatus.ONLINE, online_since, 1 + VERSION_JUMP)
    assert [stale for stale, _ in await recorded.announcements()] == [True, False]


async def test_those_not_heard_within_a_ttl_end_with_the_time_of_the_loss(recorded: World) -> None:
    lost_at = await lose_everything(recorded)
    await recorded.monitor.run()
    await recorded.run_on(TTL + 20_000)
    assert await recorded.changes("f-2") == [("offline", lost_at, 2 + VERSION_JUMP, "expired")]
    await recorded.monitor.run()
    rows = recorded.monitor_rows("SELECT version, status FROM facility_status_history WHERE facility_id = 'f-2'")
    assert rows == [(1, "online"), (2 + VERSION_JUMP, "offline")]


async def test_sessions_ended_by_command_stay_ended(recorded: World) -> None:
    await lose_everything(recorded)
    await recorded.monitor.run()
    result = await recorded.beat("u-9", "gone")
    assert (result.applied, result.ended) == (0, 2)
    assert (await recorded.state("f-3")).status is FacilityStatus.OFFLINE


async def test_versions_that_sql_never_saw_are_not_used_again(world: World) -> None:
    """They were told to browsers after the last run of the monitor."""
    for _ in range(2):
        await world.beat("u-1")
        await world.beat("u-1", leaving=True)
        await world.sweep_after(GRACE + 1_000)
    assert (await world.state("f-1")).version == 4
    await lose_everything(world)
    await world.recovery.ensure()
    await world.beat("u-1")
    [(status, _, version, _)] = await world.changes("f-1")
    assert (status, version) == ("online", VERSION_JUMP + 1)


async def test_a_session_ended_by_command_is_in_sql_at_once(world: World) -> None:
    await world.beat("u-1", "gone")
    await world.ending.end("u-1", "gone")
    await lose_everything(world)
    await world.recovery.ensure()
    assert (await world.beat("u-1", "gone")).ended == 1


async def test_the_directory_is_back_before_anything_new_is_applied(recorded: World) -> None:
    await lose_everything(recorded)
    await recorded.beat("u-1")
    state = await recorded.state("f-1")
    assert (state.version, state.last_seen) == (1 + VERSION_JUMP, recorded.time)


async def test_numbers_of_messages_jump_ahead(recorded: World) -> None:
    before = {message["regionId"]: message["sequence"] for message in await recorded.deliver()}
    recorded.push.sent.clear()
    await lose_everything(recorded)
    await recorded.monitor.run()
    after = {message["regionId"]: message["sequence"] for message in await recorded.deliver()}
    assert after.keys() == before.keys() == {"r-1", "r-2"}
    assert all(after[region] > before[region] for region in before)


async def test_while_another_process_restores_the_batch_waits(recorded: World) -> None:
    await lose_everything(recorded)
    await recorded.redis.set(keys.RECOVERY_LEASE, "another", px=60_000)
    with pytest.raises(DependencyUnavailableError, match="being restored"):
        await recorded.beat("u-1")


async def test_processes_that_find_the_loss_together_restore_once(
    recorded: World, redis: Redis, tmp_path: Path
) -> None:
    others = [make_world(redis, tmp_path) for _ in range(3)]
    await lose_everything(recorded)
    results = await asyncio.gather(*(each.recovery.ensure() for each in others), return_exceptions=True)
    assert None in results
    assert all(isinstance(each, DependencyUnavailableError) for each in results if each is not None)
    assert (await recorded.state("f-1")).version == 1 + VERSION_JUMP
    for each in others:
        await each.close()


async def test_a_first_start_is_not_stale(world: World) -> None:
    await world.sweep_after(0)
    await world.beat("u-1")
    await world.sweep_after(1_000)
    assert not (await world.watermarks.load()).stale
    assert await world.announcements() == []
    assert (await world.state("f-1")).version == 1


async def test_a_directory_of_which_a_part_was_lost_is_published_again(
    recorded: World, redis: Redis, tmp_path: Path
) -> None:
    """Its hashes lie on different nodes of a cluster, and without that of users nobody would belong anywhere."""
    generation = int(await redis.get(keys.DIRECTORY_GENERATION) or 0)
    await redis.delete(keys.directory_users(generation), partition_of("f-1").progress)
    new = make_world(redis, tmp_path)
    assert (await new.beat("u-9")).began == 2
    assert await new.registry.online_sessions_of([("f-3", partition_of("f-3"))]) == [[("u-9", "s")]]
    assert await redis.xlen(keys.REGION_MOVES) == 0, "nobody moved"
    await new.close()
