"""News of agents while nobody takes them: what is too late to tell goes, and the rest stays bounded."""

import pytest
from redis.asyncio import Redis

from shared.domain.session import SessionTiming
from shared.pipeline.agents import TRAFFIC_MAX_AGE
from shared.pipeline.bounds import StreamBounds
from shared.registry import keys
from shared.registry.registry import Registry
from tests.redis_server import stream_rows

NOW = 1_795_000_000_000
PARTITION = keys.ALL_USER_PARTITIONS[3]


@pytest.fixture
def bounds(redis: Redis) -> StreamBounds:
    return StreamBounds(redis, Registry(redis, SessionTiming(90_000, 5_000)), lambda: NOW, urgent_limit=5)


async def test_traffic_that_is_too_late_to_tell_goes_though_nobody_takes_it(redis: Redis, bounds: StreamBounds) -> None:
    kept = [NOW - TRAFFIC_MAX_AGE, NOW - 1, NOW]
    for at in [NOW - 3_600_000, NOW - TRAFFIC_MAX_AGE - 1, *kept]:
        await redis.xadd(PARTITION.traffic, {"at": at}, id=f"{at}-0")
    await bounds.keep()
    assert [int(row["at"]) for row in await stream_rows(redis, PARTITION.traffic)] == kept


async def test_of_what_people_did_the_newest_waits(
    redis: Redis, bounds: StreamBounds, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(8):
        await redis.xadd(PARTITION.urgent, {"number": number}, id=f"{NOW - 3_600_000 + number}-0")
    await bounds.keep()
    assert [int(row["number"]) for row in await stream_rows(redis, PARTITION.urgent)] == [3, 4, 5, 6, 7]
    [cut] = [record.message for record in caplog.records if "stream.cut" in record.message]
    assert '"dropped":3' in cut
    caplog.clear()
    await bounds.keep()
    assert await redis.xlen(PARTITION.urgent) == 5
    assert not [record for record in caplog.records if "stream.cut" in record.message]
