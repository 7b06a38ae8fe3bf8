"""What operators are told of the pipeline, from a real Redis."""

import json
import logging

import pytest
from redis.asyncio import Redis
from redis.typing import EncodableT, FieldT

from shared.pipeline.measures import EVENT, WINDOW, Measures, PipelineMeter
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.watermarks import Watermarks

NOW = 1_800_000_000_000


@pytest.fixture
def meter(redis: Redis) -> PipelineMeter:
    return PipelineMeter(redis, Watermarks(redis), DeadLetters(redis), lambda: NOW)


async def change(redis: Redis, at: int, since: int, *, status: str = "offline", reason: str = "expired") -> None:
    """Adds a facility's change as the scripts do, recorded at `at`."""
    fields: dict[FieldT, EncodableT] = {"kind": "status", "facility": "f-1", "status": status, "since": since}
    fields |= {"version": 1, "sessions": 0, "reason": reason}
    await redis.xadd(keys.ALL_PARTITIONS[at % 16].changes, fields, id=f"{at}-*")


async def test_before_anything_happened_nothing_is_claimed(meter: PipelineMeter) -> None:
    assert await meter.measure() == Measures(None, False, 0, None, None, None, 0)


async def test_the_lag_of_detection_is_from_the_deadline_to_the_record(redis: Redis, meter: PipelineMeter) -> None:
    for index in reversed(range(100)):
        at = NOW - 1_000 - index
        await change(redis, at, at - 10 * (index + 1))
    measures = await meter.measure()
    assert measures.expired == 100
    assert (measures.detection_lag_p50, measures.detection_lag_p99, measures.detection_lag_max) == (500, 990, 1_000)


async def test_only_what_expired_in_the_last_minute_counts(redis: Redis, meter: PipelineMeter) -> None:
    await change(redis, NOW - WINDOW - 1, NOW - WINDOW - 5_001)
    await change(redis, NOW - 3_000, NOW - 9_000, reason="left")
    await change(redis, NOW - 2_000, NOW - 9_000, status="online", reason="heartbeat")
    await redis.xadd(keys.ALL_PARTITIONS[0].changes, {"kind": "stale", "stale": "1", "since": 5}, id=f"{NOW - 1_000}-0")
    await redis.xadd(keys.ALL_PARTITIONS[1].changes, {"kind": "riddle"}, id=f"{NOW - 1_000}-0")
    await change(redis, NOW - 500, NOW - 700)
    measures = await meter.measure()
    assert (measures.expired, measures.detection_lag_max) == (1, 200)


async def test_the_log_line_is_what_the_alerts_read(
    redis: Redis, meter: PipelineMeter, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.hset(keys.PIPELINE, mapping={"watermark": NOW - 1_500})
    await DeadLetters(redis).add("ingest", "not ours", b"?")
    await change(redis, NOW - 500, NOW - 700)
    with caplog.at_level(logging.INFO, "facility_pulse"):
        await meter.report()
    line = next(record.message for record in caplog.records if record.message.startswith(f"{EVENT} "))
    assert json.loads(line.removeprefix(f"{EVENT} ")) == {
        "pipelineLagSeconds": 1.5,
        "stale": False,
        "expired": 1,
        "detectionLagP50Seconds": 0.2,
        "detectionLagP99Seconds": 0.2,
        "detectionLagMaxSeconds": 0.2,
        "setAside": 1,
    }
