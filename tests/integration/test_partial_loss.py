"""A loss of some partitions only, as when one node of a cluster fails: noticed, and made good like any other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityStatus
from shared.errors import DependencyUnavailableError
from shared.pipeline.recovery import ADVANCE_EVERY, VERSION_JUMP
from shared.registry import keys
from shared.registry.keys import Partition, partition_of
from shared.registry.sequences import Sequences
from tests.integration.sweep_world import START, World, opened
from tests.integration.test_recovery import another, record, version

TTL = 9_000
LOST = partition_of("f-1")


@pytest.fixture
async def world(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(redis, tmp_path, ttl=TTL) as world:
        await world.until(1_000)
        await world.hear([("f-1", "u-1"), ("f-2", "u-2")])
        await record(world)
        await world.recovery.applied("0", 1)
        yield world


@pytest.fixture
def other(world: World, tmp_path: Path) -> Iterator[World]:
    """A process that has just started and remembers nothing."""
    other = another(world, tmp_path)
    yield other
    other.store.close()


async def copy(client: Redis, partition: Partition) -> dict[bytes, bytes]:
    """What the partition holds, as the node that has it would save it."""
    found = client.scan_iter(match=f"*{partition.tag}*")
    return {key: dumped async for key in found if (dumped := await client.dump(key)) is not None}


async def lose(client: Redis, partition: Partition, older: dict[bytes, bytes] | None = None) -> None:
    """Takes away what the partition holds, and puts the older copy in its place."""
    async for key in client.scan_iter(match=f"*{partition.tag}*"):
        await client.delete(key)
    for key, dumped in (older or {}).items():
        await client.restore(key, 0, dumped)


async def test_the_partitions_of_the_test_differ() -> None:
    assert LOST not in (partition_of("f-2"), keys.ALL_PARTITIONS[0])


async def test_a_partition_that_is_gone_is_noticed_by_any_process(world: World, other: World) -> None:
    await lose(world.client, LOST)
    await other.recovery.ensure()
    assert [stale for stale, _ in await world.announced()] == [True]
    for facility in ("f-1", "f-2"):
        assert await version(world.registry, facility) == (1 + VERSION_JUMP, FacilityStatus.ONLINE)
    await world.recovery.ensure()
    await world.until(5_000)
    await world.hear([("f-1", "u-1"), ("f-2", "u-2")])
    assert await world.transitions() == [("f-2", "online", 800)]
    assert len(await world.announced()) == 1, "one loss, one recovery"


async def test_an_older_copy_of_a_partition_is_noticed_by_who_remembers(world: World) -> None:
    await world.until(3_000)
    older = await copy(world.client, LOST)
    await world.hear([("f-1", "u-1")], leaving=True)
    await world.until(10_000)
    assert await version(world.registry, "f-1") == (2, FacilityStatus.OFFLINE)
    await record(world)
    await lose(world.client, LOST, older)
    await world.until(11_000)
    assert await version(world.registry, "f-1") == (2 + VERSION_JUMP, FacilityStatus.OFFLINE)
    assert (await world.announced())[-1][0]


async def test_a_copy_that_lacks_nothing_but_the_last_batch_is_noticed_by_who_applied_it(world: World) -> None:
    """Also during a hold, in which the watermarks of the partitions stand still."""
    older = await copy(world.client, LOST)
    world._clock[0] += ADVANCE_EVERY
    await world.recovery.ensure("0", 2)
    await world.hear([("f-1", "u-9")])
    await world.recovery.applied("0", 2)
    await lose(world.client, LOST, older)
    await world.recovery.ensure("0", 3)
    assert [stale for stale, _ in await world.announced()] == [True]


async def test_what_was_noticed_is_not_forgotten_while_it_cannot_be_mended(world: World, other: World) -> None:
    await world.until(3_000)
    older = await copy(world.client, LOST)
    await world.until(4_000)
    await lose(world.client, LOST, older)

    def away() -> list[str]:
        raise DependencyUnavailableError("sql", "away")

    for each in (world, other):
        each.store.migrate, each.mended = away, each.store.migrate  # type: ignore[attr-defined, method-assign]
    with pytest.raises(DependencyUnavailableError):
        await world.recovery.ensure()
    for _ in range(20):
        for each in (other, world):
            with pytest.raises(DependencyUnavailableError):
                await each.recovery.ensure()
    other.store.migrate = other.mended  # type: ignore[attr-defined, method-assign]
    await other.recovery.ensure()
    assert await version(world.registry, "f-1") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)


async def test_while_nothing_is_lost_nothing_is_noticed(world: World, other: World) -> None:
    """Processes start, work at the same time, restore together, and see the clock set back."""
    await asyncio.gather(*(each.recovery.ensure() for each in (world, other) * 20))
    await asyncio.gather(*(each.recovery.applied("0", number) for number in range(20) for each in (world, other)))
    await world.until(3_000)
    await other.until(4_000)
    world._clock[0] = START - 3_600_000
    for each in (world, other):
        await each.recovery.ensure()
        await each.recovery.vouch()
    world._clock[0] = START + 5_000
    assert [stale for stale, _ in await world.announced()] == []
    await world.client.flushall()
    await asyncio.gather(*(each.recovery.ensure() for each in (world, other, world, other)))
    for _ in range(3):
        await asyncio.gather(*(each.recovery.ensure() for each in (world, other)))
        await asyncio.gather(*(each.recovery.vouch() for each in (world, other)))
    assert [stale for stale, _ in await world.announced()] == [True]


async def test_an_epoch_that_begins_while_the_answers_come_is_no_second_loss(
    world: World, other: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node answered before, the one with the epoch after another process had restored everything."""
    look = other.recovery._progress.look

    async def see_both(*args: Any) -> Any:
        before = await look(*args)
        await lose(world.client, LOST)
        await world.recovery.ensure()
        after = await look(*args)
        return type(after)(after.epoch, after.broken, after.progress, before.partitions, after.applied)

    monkeypatch.setattr(other.recovery._progress, "look", see_both)
    await other.recovery.ensure()
    assert len(await world.announced()) == 1
    assert await version(world.registry, "f-2") == (1 + VERSION_JUMP, FacilityStatus.ONLINE)


async def test_numbers_of_messages_are_ahead_though_only_their_node_was_lost(world: World) -> None:
    drawn = [await Sequences(world.client, world.now).draw("r-1") for _ in range(3)]
    await world.client.delete(keys.sequence("r-1"))
    world._clock[0] += 1_000
    assert await Sequences(world.client, world.now).draw("r-1") > drawn[-1]
