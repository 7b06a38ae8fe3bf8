"""What says how far ingestion has come does not go back, also when those who write it overtake one another."""

import asyncio

from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.progress import Progress
from shared.registry.watermarks import Watermarks

NEWEST_FIRST = range(40, 0, -1)


async def test_the_newest_event_applied_is_not_set_back(redis: Redis) -> None:
    progress = Progress(redis)
    await asyncio.gather(*(progress.applied("0", number) for number in NEWEST_FIRST))
    assert await redis.hgetall(keys.APPLIED) == {b"0": b"40"}
    await progress.applied("0", 41)
    await progress.applied("1", 7)
    assert await redis.hgetall(keys.APPLIED) == {b"0": b"41", b"1": b"7"}


async def test_the_newest_canary_is_not_set_back(redis: Redis) -> None:
    watermarks = Watermarks(redis)
    await asyncio.gather(*(watermarks.record({"0": sent_at, "1": 100 - sent_at}) for sent_at in NEWEST_FIRST))
    assert await redis.hgetall(keys.INGESTED) == {b"0": b"40", b"1": b"99"}
    await watermarks.record({"0": 41, "1": 98})
    assert await redis.hgetall(keys.INGESTED) == {b"0": b"41", b"1": b"99"}
