"""The clock goes back by an hour: what is known to be unsure is called so, and nothing waits for the hour to pass."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.integration.sweep_world import START, World, opened

HOUR = 3_600_000
TTL = 9_000
WHO = [(f"f-{number}", f"u-{number}") for number in range(5)]


@pytest.fixture
async def site(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    """Sessions that beat up to a moment 12 s after START."""
    async with opened(redis, tmp_path, ttl=TTL, hold=0) as site:
        await site.hear(WHO)
        await _beat_until(site, 12_000)
        yield site


async def _beat_until(site: World, time: int) -> None:
    while site.time < time:
        await site.at(site.time + 1_000)
        if site.time % 3_000 == 0:
            await site.hear(WHO)


async def test_a_clock_set_back_is_announced_as_stale_and_nobody_is_called_offline(site: World) -> None:
    await site.at(12_000 - HOUR)
    assert await site.announced() == [(True, 12_000 - HOUR)]
    await _beat_until(site, 60_000 - HOUR)
    assert (await site.state()).stale
    assert await site.offline() == []
    assert await site.announced() == [(True, 12_000 - HOUR)], "said once"


async def test_when_the_clock_has_caught_up_the_stall_ends_and_silence_is_noticed_again(site: World) -> None:
    await site.at(12_000 - HOUR)
    await site.at(11_000)
    await _beat_until(site, 24_000)
    assert not (await site.state()).stale
    assert [stale for stale, _ in await site.announced()] == [True, False]
    assert await site.offline() == []
    await site.until(24_000 + TTL + 1_000)
    assert len(await site.offline()) == len(WHO)


async def test_a_sweep_by_a_clock_since_set_back_counts_as_late(site: World) -> None:
    site._clock[0] = START + 12_000 - HOUR
    await site.sweeper.wake_if_late()
    assert site.sweeper._task is not None
    await site.sweeper._task
    assert (await site.state()).swept_at == site.now()
    site._clock[0] -= 1_000
    await site.sweeper.wake_if_late()
    assert site.sweeper._task.done(), "that much two clocks may differ"
