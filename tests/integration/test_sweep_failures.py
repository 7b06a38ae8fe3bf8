"""A sweep that fails midway, or takes long: what it has done is told, once, and nothing else waits for it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.errors import DependencyUnavailableError
from shared.registry.keys import Partition, partition_of
from shared.registry.results import SweepResult
from tests.integration.sweep_world import HUB_PARTITIONS, World, opened

TTL = 9_000
FACILITIES = ("f-1", "f-2", "f-3")


@pytest.fixture
async def site(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    """Facilities in three partitions, all due at the next sweep."""
    async with opened(redis, tmp_path, ttl=TTL, hold=0) as site:
        assert len({partition_of(each) for each in FACILITIES}) == len(FACILITIES)
        await site.hear([(facility, f"u-of-{facility}") for facility in FACILITIES])
        await site.until(TTL - 1_000)
        site.browsers.woken = 0
        yield site


def _before_each_sweep(site: World, monkeypatch: pytest.MonkeyPatch, step: Callable[[Partition], None]) -> None:
    real: Callable[..., Coroutine[Any, Any, SweepResult]] = site.registry.sweep

    async def sweep(partition: Partition, watermark: int, *, hold_until: int) -> SweepResult:
        step(partition)
        return await real(partition, watermark, hold_until=hold_until)

    monkeypatch.setattr(site.registry, "sweep", sweep)


@pytest.mark.parametrize("after", [0, 1_000])
async def test_a_partition_that_fails_keeps_no_other_from_its_ends_and_they_are_told(
    site: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    broken = min((partition_of(each) for each in FACILITIES), key=lambda partition: partition.number)

    def fail(partition: Partition) -> None:
        if partition == broken:
            site._clock[0] += after
            raise DependencyUnavailableError("redis", "one node is away")

    _before_each_sweep(site, monkeypatch, fail)
    with pytest.raises(DependencyUnavailableError, match="one node is away"):
        await site.at(TTL + 1_000)
    assert [facility for facility, _, _ in await site.offline()] == [
        each for each in FACILITIES if partition_of(each) != broken
    ]
    assert site.browsers.woken, "nobody else would tell"


async def test_what_a_sweep_ended_before_redis_went_away_is_told(site: World, monkeypatch: pytest.MonkeyPatch) -> None:
    last = max((partition_of(each) for each in FACILITIES), key=lambda partition: partition.number)

    async def away() -> bool:
        raise DependencyUnavailableError("redis", "all of it is away")

    def fail(partition: Partition) -> None:
        if partition == last:
            monkeypatch.setattr(site.sweeper._lease, "renew", away)
            raise DependencyUnavailableError("redis", "away")

    _before_each_sweep(site, monkeypatch, fail)
    with pytest.raises(DependencyUnavailableError, match="all of it"):
        await site.at(TTL + 1_000)
    assert len(await site.offline()) == len(FACILITIES) - 1
    assert site.browsers.woken


async def test_a_slow_sweep_tells_each_change_once(site: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_long(_: Partition) -> None:
        site._clock[0] += 150

    _before_each_sweep(site, monkeypatch, take_long)
    assert (await site.at(TTL + 1_000)).changes == len(FACILITIES)
    assert site.browsers.woken == len(FACILITIES) + 1, "once for each, and as every sweep does at its end"


async def test_a_sweep_that_takes_long_does_not_stall_the_watermark(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_long(_: Partition) -> None:
        site._clock[0] += 300

    _before_each_sweep(site, monkeypatch, take_long)
    assert (await site.at(TTL + 1_000)).ended == len(FACILITIES)
    assert site.time > TTL + 5_000
    await site.at(site.time + 1_000)
    assert await site.announced() == []


async def test_while_the_sweep_is_behind_hints_and_session_lists_are_out_of_its_way(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = max(FACILITIES, key=lambda each: partition_of(each).number)
    key = partition_of(last).session(last, f"u-of-{last}/s")
    real: Callable[..., Coroutine[Any, Any, SweepResult]] = site.registry.sweep
    unlisted: list[Partition] = []
    hints = []

    async def sweep(partition: Partition, watermark: int, *, hold_until: int) -> SweepResult:
        site._clock[0] += 300
        if partition == partition_of(last):
            hints.append((await site.sweeper.run_for_key(key)).ended)
        return await real(partition, watermark, hold_until=hold_until)

    async def unlist(partition: Partition, watermark: int, passed: int, limit: int) -> int:
        unlisted.append(partition)
        return 0

    monkeypatch.setattr(site.registry, "sweep", sweep)
    monkeypatch.setattr(site.registry, "unlist", unlist)
    assert (await site.at(TTL + 1_000)).ended == len(FACILITIES)
    assert hints == [0]
    assert unlisted.count(partition_of(last)) == 1


async def test_a_notification_does_not_end_a_stall_that_only_the_sweep_may_end(site: World) -> None:
    # Another instance, whose clock is a little ahead, has announced it.
    site._clock[0] += 2_500
    before = await site.state()
    stalled = replace(before, stale_since=before.watermark)
    assert await site.watermarks.save(stalled, site.now(), before=before, announce="stalled")
    for partition in HUB_PARTITIONS:
        await site.watermarks.record({partition: site.now()})
    key = partition_of("f-1").session("f-1", "u-of-f-1/s")
    assert (await site.sweeper.run_for_key(key)).ended == 0
    assert await site.offline() == []


async def test_what_an_older_copy_would_send_waits_until_it_is_restored(
    site: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    monkeypatch.setattr(site.sweeper._alerts, "call_webhook", lambda: called.append(site.time))

    async def away() -> None:
        raise DependencyUnavailableError("sql", "away")

    with monkeypatch.context() as patch:
        patch.setattr(site.recovery, "ensure", away)
        with pytest.raises(DependencyUnavailableError):
            await site.at(TTL)
    assert not called
    await site.at(TTL + 1_000)
    assert called == [TTL + 1_000]
