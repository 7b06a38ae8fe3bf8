"""Delivery: in order, numbered without gaps, once a lease holder at a time, and again after a failure."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.broadcast.broadcaster import Broadcaster
from shared.broadcast.outbox import SPACING
from shared.domain.directory import County, Directory, Facility, Region
from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryPublisher
from shared.stream.group import BROADCAST, StreamGroup

STREAMS = [partition.changes for partition in keys.ALL_PARTITIONS]


class Recorder:
    """Takes the place of Web PubSub at the end of the line; can be made to fail."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], float]] = []
        self.failing = False

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        if self.failing:
            raise DependencyUnavailableError("webPubSub")
        self.sent.append((group, message, time.monotonic()))

    def of(self, region: str) -> list[dict[str, Any]]:
        return [message for group, message, _ in self.sent if group == f"region-{region}"]


def broadcaster(redis: Redis, push: Recorder) -> Broadcaster:
    return Broadcaster(
        redis,
        StreamGroup(redis, BROADCAST, STREAMS),
        DirectoryCache(redis),
        push,  # type: ignore[arg-type]
        DeadLetters(redis),
        lambda: time.time_ns() // 1_000_000,
    )


@pytest.fixture(autouse=True)
async def directory(redis: Redis) -> None:
    facilities = {f"f-{n}": Facility(f"f-{n}", f"c-{1 + n % 2}", f"F {n}") for n in range(50)}
    counties = {f"c-{n}": County(f"c-{n}", f"r-{n}", "") for n in (1, 2)}
    regions = {f"r-{n}": Region(f"r-{n}", "") for n in (1, 2)}
    await DirectoryPublisher(redis, DirectoryCache(redis)).publish(Directory(regions, counties, facilities), "1")


async def append(redis: Redis, facility: str, version: int, **more: str) -> None:
    fields: dict[Any, Any] = {
        "kind": "status",
        "facility": facility,
        "status": "online",
        "since": 1_700_000_000_000 + version,
    }
    fields |= {"version": version, "sessions": 1, "reason": "heartbeat"} | more
    await redis.xadd(keys.partition_of(facility).changes, fields)


async def pending(redis: Redis) -> int:
    return sum([(await redis.xpending(stream, BROADCAST))["pending"] for stream in STREAMS])


async def test_a_change_reaches_its_regions_group_as_the_contract_says(redis: Redis) -> None:
    push = Recorder()
    await append(redis, "f-2", 1)
    await broadcaster(redis, push).deliver()
    (message,) = push.of("r-1")
    assert message == {
        "type": "facility.status",
        "regionId": "r-1",
        "sequence": int(await redis.get("sequence:r-1") or 0),
        "changes": [
            {
                "facilityId": "f-2",
                "status": "online",
                "since": "2023-11-14T22:13:20.001Z",
                "version": 1,
                "sessions": 1,
                "reason": "heartbeat",
            }
        ],
    }
    assert push.of("r-2") == []
    assert await pending(redis) == 0


async def test_the_first_number_is_ahead_of_any_drawn_before_a_loss_and_each_next_one_is_one_more(redis: Redis) -> None:
    push = Recorder()
    sender = broadcaster(redis, push)
    before = time.time_ns() // 1_000_000
    for version in (1, 2, 3):
        await append(redis, "f-2", version)
        await sender.deliver()
    numbers = [message["sequence"] for message in push.of("r-1")]
    assert numbers[0] >= before
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


async def test_messages_of_a_region_keep_their_distance_and_coalesce(redis: Redis) -> None:
    push = Recorder()
    sender = broadcaster(redis, push)
    await append(redis, "f-2", 1)
    sending = asyncio.create_task(sender.deliver())
    while not push.sent:
        await asyncio.sleep(0.005)
    for version in (2, 3, 4):
        await append(redis, "f-2", version)
    await append(redis, "f-4", 1)
    await sending
    first, second = push.of("r-1")
    assert [change["version"] for change in first["changes"]] == [1]
    assert {change["facilityId"]: change["version"] for change in second["changes"]} == {"f-2": 4, "f-4": 1}
    assert push.sent[1][2] - push.sent[0][2] >= SPACING / 1000 - 0.02


async def test_what_could_not_be_sent_is_sent_by_the_next_holder(redis: Redis) -> None:
    push = Recorder()
    push.failing = True
    await append(redis, "f-2", 1)
    with pytest.raises(DependencyUnavailableError):
        await broadcaster(redis, push).deliver()
    assert await pending(redis) == 1
    push.failing = False
    await append(redis, "f-2", 2)
    await broadcaster(redis, push).deliver()
    (message,) = push.of("r-1")
    assert [change["version"] for change in message["changes"]] == [2]
    assert await pending(redis) == 0


async def test_many_at_once_send_each_change_once(redis: Redis) -> None:
    push = Recorder()
    senders = [broadcaster(redis, push) for _ in range(4)]
    for facility in range(40):
        await append(redis, f"f-{facility}", 1)
        senders[facility % 4].wake()
    deadline = time.monotonic() + 10
    while (await pending(redis) if await redis.exists(keys.BROADCAST_WANTED) else 1) or len(_facilities(push)) < 40:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert sorted(_facilities(push)) == sorted(f"f-{n}" for n in range(40))
    for region in ("r-1", "r-2"):
        numbers = [message["sequence"] for message in push.of(region)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for sender in senders:
        await sender.close()


async def test_an_unknown_kind_of_entry_is_set_aside_and_the_rest_goes_on(redis: Redis) -> None:
    push = Recorder()
    await redis.xadd(STREAMS[0], {"kind": "from-the-future", "x": "1"})
    await append(redis, "f-2", 1)
    await broadcaster(redis, push).deliver()
    assert len(push.of("r-1")) == 1
    assert await DeadLetters(redis).count() == 1
    assert await pending(redis) == 0


async def test_an_announcement_reaches_every_region(redis: Redis) -> None:
    push = Recorder()
    await redis.xadd(keys.CONTROL_STREAM, {"kind": "stale", "stale": 1, "since": 1_700_000_000_000})
    await broadcaster(redis, push).deliver()
    for region in ("r-1", "r-2"):
        (message,) = push.of(region)
        assert message["type"] == "presence.stale"
        assert message["stale"] is True
        assert message["since"] == "2023-11-14T22:13:20.000Z"
    assert await pending(redis) == 0


async def test_a_removal_goes_to_the_region_that_lost_the_facility(redis: Redis) -> None:
    push = Recorder()
    await append(redis, "gone", 7, status="removed", region="r-2", reason="removed")
    await append(redis, "gone", 8)
    await broadcaster(redis, push).deliver()
    (message,) = push.of("r-2")
    assert message["changes"][0]["status"] == "removed"
    assert push.of("r-1") == []
    assert await pending(redis) == 0, "a change of a facility that nobody knows any more is nobody's news"


def _facilities(push: Recorder) -> list[str]:
    return [change["facilityId"] for _, message, _ in push.sent for change in message["changes"]]
