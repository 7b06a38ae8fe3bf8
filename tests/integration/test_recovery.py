"""How a loss of Redis data is noticed and made good: gone, gone back to an older copy, or not at all."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityChange, FacilityState, FacilityStatus
from shared.errors import DependencyUnavailableError
from shared.pipeline.recovery import VERSION_JUMP
from shared.registry import keys
from shared.registry.registry import Registry
from shared.registry.sequences import Sequences
from shared.store.ports import EndedId
from tests.integration.sweep_world import START, World, opened

TTL = 9_000


@pytest.fixture
async def world(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(redis, tmp_path, ttl=TTL) as world:
        yield world


def another(world: World, directory: Path) -> World:
    """A process that has just started and remembers nothing."""
    return World(world.client, directory / "monitor.db", world._clock, world.sweeper._timing, world.silence)


async def copy(client: Redis) -> dict[bytes, bytes]:
    """All the data, as a snapshot holds it."""
    return {key: dumped async for key in client.scan_iter() if (dumped := await client.dump(key)) is not None}


async def go_back(client: Redis, held: dict[bytes, bytes]) -> None:
    await client.flushall()
    for key, dumped in held.items():
        # A worker of the test's world may have written meanwhile.
        await client.restore(key, 0, dumped, replace=True)


async def record(world: World) -> None:
    """What the monitor does every minute."""
    states = await world.registry.facility_states([f"f-{n}" for n in range(10)])
    world.store.record_changes(
        [
            FacilityChange(s.facility_id, s.status, s.since, s.version, s.sessions, s.reason)
            for s in states
            if s.since is not None and s.reason is not None
        ]
    )


async def version(registry: Registry, facility: str) -> tuple[int, FacilityStatus]:
    [state] = await registry.facility_states([facility])
    return state.version, state.status


async def test_a_first_start_is_no_loss(world: World) -> None:
    assert await world.announced() == []
    assert world.directories_published == 0


async def test_a_restart_with_all_the_data_is_no_loss(world: World, tmp_path: Path) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1")])
    await go_back(world.client, await copy(world.client))
    await world.until(2_000)
    other = another(world, tmp_path)
    await other.until(3_000)
    assert await version(world.registry, "f-1") == (1, FacilityStatus.ONLINE)
    assert await world.announced() == []
    other.store.close()


async def test_empty_redis_is_rebuilt_from_sql_without_a_transition(world: World) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1"), ("f-2", "u-2")])
    await record(world)
    await world.until(4_000)
    await world.client.flushall()
    await world.until(5_000)
    assert await world.announced() == [(True, 4_000 - 200)], "since where the watermark stopped"
    assert await version(world.registry, "f-1") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    assert world.directories_published == 1
    await world.until(9_000)
    await world.hear([("f-1", "u-1")])
    await world.until(14_000)
    assert await world.transitions() == []
    await world.until(16_000)
    assert await world.transitions() == [("f-2", "offline", 5_000)], "not heard for a TTL: it ends with the loss"
    assert [stale for stale, _ in await world.announced()] == [True, False]


async def test_an_older_copy_is_noticed_by_who_remembers_and_versions_do_not_go_back(world: World) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1"), ("f-2", "u-2")])
    older = await copy(world.client)
    await world.hear([("f-2", "u-2")], leaving=True)
    await world.until(8_000)
    assert await version(world.registry, "f-2") == (2, FacilityStatus.OFFLINE)
    await record(world)
    await go_back(world.client, older)
    await world.until(9_000)
    assert (await world.announced())[-1][0]
    assert await version(world.registry, "f-1") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    assert await version(world.registry, "f-2") == (2 + VERSION_JUMP, FacilityStatus.OFFLINE), "as SQL knows it"


async def test_of_what_sql_does_not_know_yet_the_older_copy_counts(world: World) -> None:
    await world.until(1_000)
    await world.hear([("f-3", "u-3")])
    older = await copy(world.client)
    await world.until(3_000)
    await go_back(world.client, older)
    await world.until(4_000)
    assert await version(world.registry, "f-3") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    await world.until(16_000)
    assert await world.offline() == [("f-3", "offline", 4_000)]


async def test_an_older_copy_is_noticed_without_memory_by_the_gap_in_the_events(world: World, tmp_path: Path) -> None:
    await world.recovery.ensure("0", 100)
    await world.recovery.applied("0", 104)
    older = await copy(world.client)
    await world.recovery.ensure("0", 105)
    await world.recovery.applied("0", 109)
    other = another(world, tmp_path)
    await other.recovery.ensure("0", 101)
    await other.recovery.ensure("0", 110)
    assert await world.announced() == [], "repeated events and those that follow are no gap"
    await go_back(world.client, older)
    await other.recovery.ensure("0", 110)
    assert [stale for stale, _ in await other.announced()] == [True]
    await other.recovery.ensure("1", 7_000)
    assert len(await other.announced()) == 1, "one loss, however many partitions show it"
    other.store.close()


async def test_an_older_copy_is_noticed_by_a_canary_of_newer_days(world: World, tmp_path: Path) -> None:
    older = await copy(world.client)
    for _ in range(9):
        await world.recovery.ensure()
    mark = world.recovery.mark
    other = another(world, tmp_path)
    await other.recovery.ensure(mark=mark)
    assert await world.announced() == [], "a canary read again"
    await go_back(world.client, older)
    third = another(world, tmp_path)
    await third.recovery.ensure(mark=mark)
    assert [stale for stale, _ in await world.announced()] == [True]
    await third.recovery.ensure(mark=mark)
    assert len(await world.announced()) == 1, "it was sent in an epoch that is over"
    other.store.close()
    third.store.close()


async def test_answers_that_overtake_one_another_are_no_loss(world: World) -> None:
    await asyncio.gather(*(world.recovery.ensure() for _ in range(60)))
    assert await world.announced() == []


async def test_the_data_is_restored_once_however_many_notice(world: World, tmp_path: Path) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1")])
    await record(world)
    other = another(world, tmp_path)
    await other.until(2_000)
    await world.client.flushall()
    await asyncio.gather(*(each.recovery.ensure() for each in (world, other, world, other)))
    await asyncio.gather(*(each.recovery.ensure() for each in (world, other)))
    assert await version(world.registry, "f-1") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    assert len(await world.announced()) == 1
    other.store.close()


async def test_sessions_ended_by_command_stay_ended(world: World) -> None:
    world.store.remember_ended_ids([EndedId("u-1", "s", START + 60_000)])
    await world.client.flushall()
    await world.until(1_000)
    await world.hear([("f-1", "u-1")])
    assert await world.transitions() == []


async def test_a_heartbeat_in_the_middle_of_the_recovery_brings_no_ended_session_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.hear([("f-1", "u-1")])
    await record(world)
    world.store.remember_ended_ids([EndedId("u-1", "s", START + 60_000)])
    restore: Callable[..., Awaitable[int]] = world.registry.restore

    async def restore_and_hear(*args: object, **more: object) -> int:
        restored = await restore(*args, **more)
        await world.hear([("f-1", "u-1")])
        return restored

    monkeypatch.setattr(world.registry, "restore", restore_and_hear)
    await world.client.flushall()
    await world.until(1_000)
    assert await world.registry.online_sessions_of([("f-1", keys.partition_of("f-1"))]) == [[]]


async def test_a_recovery_that_takes_long_keeps_its_lease(world: World) -> None:
    world.recovery._lease._duration = 900
    read, done = world.store.facility_states, threading.Event()

    def read_slowly() -> list[FacilityState]:
        assert done.wait(20)
        return read()

    world.store.facility_states = read_slowly  # type: ignore[method-assign]
    await world.client.flushall()
    restoring = asyncio.create_task(world.recovery.ensure())
    try:
        async with asyncio.timeout(10):
            while (left := await world.client.pttl(keys.RECOVERY_LEASE)) < 0:
                await asyncio.sleep(0.01)
            while (now_left := await world.client.pttl(keys.RECOVERY_LEASE)) <= left:
                assert now_left > 0, "given up in the middle"
                left = now_left
                await asyncio.sleep(0.01)
    finally:
        done.set()
        await restoring
    assert not await world.client.exists(keys.RECOVERY_LEASE)


async def test_while_sql_is_away_nothing_is_taken_for_lost_or_new(world: World) -> None:
    await world.client.flushall()

    def away() -> list[str]:
        raise DependencyUnavailableError("sql", "away")

    migrate, world.store.migrate = world.store.migrate, away  # type: ignore[method-assign]
    with pytest.raises(DependencyUnavailableError):
        await world.until(1_000)
    world.store.migrate = migrate  # type: ignore[method-assign]
    await world.until(2_000)
    assert await world.client.exists(keys.EPOCH)


async def test_without_the_core_database_the_rest_is_restored_once(world: World) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1")])
    await record(world)

    async def away() -> None:
        raise DependencyUnavailableError("sql", "away")

    world.recovery._publish_directory = away
    await world.client.flushall()
    await world.until(4_000)
    assert await version(world.registry, "f-1") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    assert len(await world.announced()) == 1


async def test_numbers_of_messages_never_go_back(world: World) -> None:
    numbers = Sequences(world.client, world.now)
    first = await numbers.draw("r-1")
    assert await numbers.draw("r-1") == first + 1
    older = await copy(world.client)
    assert await numbers.draw("r-1") == first + 2
    await go_back(world.client, older)
    assert await numbers.draw("r-1") == first + 3, "by what this process remembers"
    await world.recovery.ensure()
    await go_back(world.client, older)
    world._clock[0] += 1_000
    await world.recovery.ensure()
    shown = (await world.registry.region_sequences(["r-1"]))["r-1"]
    assert shown > first + 3
    assert await Sequences(world.client, world.now).draw("r-1") == shown + 1


async def test_versions_do_not_go_back_by_a_second_loss_that_sql_had_no_time_for(world: World) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1"), ("f-2", "u-2")])
    await record(world)
    for loss in (1, 2, 3):
        await world.client.flushall()
        await world.until(1_000 + loss * 1_000)
        assert await version(world.registry, "f-2") == (1 + loss * VERSION_JUMP, FacilityStatus.ONLINE)
    assert await world.transitions() == []
    [_, history] = [state.version for state in world.store.facility_states()]
    assert history == 1 + 3 * VERSION_JUMP


async def test_a_server_that_nobody_remembers_gets_numbers_ahead_of_all(world: World, tmp_path: Path) -> None:
    numbers = Sequences(world.client, world.now)
    first = await numbers.draw("r-1")
    other = another(world, tmp_path)
    await other.recovery.ensure()
    assert await Sequences(world.client, world.now).draw("r-1") == first + 1, "a process started, the server went on"
    await world.client.set(keys.SERVER, "another run")
    world._clock[0] += 5_000
    await world.recovery.ensure()
    await world.recovery.vouch()
    assert await numbers.draw("r-1") == first + 2, "the server restarted, and a process knows that nothing is lost"
    await world.client.set(keys.SERVER, "another run")
    third = another(world, tmp_path)
    await third.recovery.ensure()
    assert await numbers.draw("r-1") > world.now() > first + 3
    other.store.close()
    third.store.close()


async def test_a_stall_is_told_before_anything_ingested_after_it(world: World, tmp_path: Path) -> None:
    await world.until(1_000)
    await world.hear([("f-1", "u-1")])
    other = another(world, tmp_path)
    other._clock[0] = START + 30_000
    await other.sweeper.tell_stall()
    assert await other.announced() == [(True, 1_000 - 200)]
    await other.sweeper.tell_stall()
    assert len(await other.announced()) == 1
    other.store.close()


async def test_of_two_that_look_at_once_one_decides(world: World) -> None:
    state = await world.state()
    assert await world.watermarks.save(state, world.now() + 1, before=state)
    assert not await world.watermarks.save(state, world.now() + 2, before=state)
    assert await world.watermarks.save(state, world.now() + 3, before=await world.state())
