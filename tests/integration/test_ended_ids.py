"""What each process knows of sessions ended by command."""

import asyncio

import pytest
from redis.asyncio import Redis

from shared.domain.session import SessionTiming
from shared.registry import ended_ids
from shared.registry.ended_ids import EndedIds
from shared.registry.registry import Registry


async def test_what_was_ended_elsewhere_is_known_after_a_while_and_forgotten_in_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended_ids, "REFRESH_SECONDS", 0.01)
    times = [1_000]
    known = EndedIds(redis, lambda: times[-1])
    await Registry(redis, SessionTiming(90_000, 5_000)).block([("u-1", "s", 5_000)])
    known.add("u-2", "s", 2_000)
    try:
        async with asyncio.timeout(10):
            while not known.contains("u-1", "s", 1_000):
                await asyncio.sleep(0.01)
            assert known.contains("u-2", "s", 1_000)
            times.append(3_000)
            while known.contains("u-2", "s", 1_000):
                await asyncio.sleep(0.01)
        assert known.contains("u-1", "s", 3_000)
    finally:
        await known.close()
