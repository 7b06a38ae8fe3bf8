"""Delivery: in order, numbered without gaps, once a lease holder at a time, and again after a failure."""

import asyncio
import json
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.broadcast.broadcaster import Broadcaster
from shared.broadcast.outbox import SPACING
from shared.domain.directory import County, Directory, Facility, Region
from shared.errors import DependencyUnavailableError, PushRefusedError
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryPublisher
from shared.registry.sequences import Sequences
from shared.stream.group import BROADCAST, StreamGroup
from shared.stream.setting_aside import TRIES

STREAMS = [partition.changes for partition in keys.ALL_PARTITIONS]


class Recorder:
    """Takes the place of Web PubSub at the end of the line; can be made to fail, and to refuse a facility."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], float]] = []
        self.failing = False
        self.refused = ""
        self.attempts = 0

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        self.attempts += 1
        if self.failing:
            raise DependencyUnavailableError("webPubSub")
        if self.refused and f'"{self.refused}"' in json.dumps(message):
            raise PushRefusedError("400: no")
        self.sent.append((group, message, time.monotonic()))

    def of(self, region: str) -> list[dict[str, Any]]:
        return [message for group, message, _ in self.sent if group == f"region-{region}"]


class Clock:
    """Stands still at a moment (ms) until that is 0."""

    stopped_at = 1_795_000_000_000

    def __call__(self) -> int:
        return self.stopped_at or time.time_ns() // 1_000_000


def broadcaster(redis: Redis, push: Recorder) -> Broadcaster:
    return Broadcaster(
        redis,
        StreamGroup(redis, BROADCAST, STREAMS),
        Sequences(redis, lambda: time.time_ns() // 1_000_000),
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


async def test_a_change_that_is_refused_is_set_aside_after_its_tries_and_the_others_go_out(
    redis: Redis,
) -> None:
    push = Recorder()
    push.refused = "f-8"
    for facility in ("f-2", "f-4", "f-6", "f-8", "f-3"):
        await append(redis, facility, 1)
    sender = broadcaster(redis, push)
    for run in range(TRIES):
        assert await DeadLetters(redis).count() == 0
        await sender.deliver()
        if run == 0:
            assert sorted(_facilities(push)) == ["f-2", "f-3", "f-4", "f-6"], "none waits behind the bad one"
            assert await pending(redis) == 1
    (letter,) = await DeadLetters(redis).list("broadcast")
    assert letter.reason == "400: no"
    assert json.loads(letter.body)["facility"] == "f-8"
    assert letter.details["stream"] == keys.partition_of("f-8").changes
    assert await pending(redis) == 0
    numbers = [message["sequence"] for message in push.of("r-1")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "a refused number has reached nobody"


async def test_an_announcement_that_is_refused_is_set_aside_too(redis: Redis) -> None:
    push = Recorder()
    push.refused = "presence.stale"
    await redis.xadd(keys.CONTROL_STREAM, {"kind": "stale", "stale": 1, "since": 1_700_000_000_000})
    for _ in range(TRIES):
        await broadcaster(redis, push).deliver()
    assert await pending(redis) == 0
    assert {letter.reason for letter in await DeadLetters(redis).list("broadcast")} == {"400: no"}


async def test_an_alert_goes_to_its_region_with_a_number_that_the_webhook_can_ask_for(redis: Redis) -> None:
    push = Recorder()
    fields: dict[Any, Any] = {"kind": "alert", "facility": "f-2", "state": "offline", "since": 1_700_000_000_000}
    await redis.xadd(keys.partition_of("f-2").changes, fields)
    await redis.xadd(keys.partition_of("gone").changes, fields | {"facility": "gone"})
    await broadcaster(redis, push).deliver()
    ((group, message, _),) = push.sent
    assert group == "region-r-1"
    assert message == {
        "type": "facility.alert",
        "regionId": "r-1",
        "sequence": message["sequence"],
        "facilityId": "f-2",
        "state": "offline",
        "since": "2023-11-14T22:13:20.000Z",
    }
    assert int(await redis.get(keys.alert_sequence("f-2/offline/1700000000000")) or 0) == message["sequence"]
    assert await pending(redis) == 0


async def test_what_waits_while_web_pubsub_is_away_follows_the_facilities_and_not_the_changes(redis: Redis) -> None:
    push = Recorder()
    push.failing = True
    sender = broadcaster(redis, push)
    for version in range(1, 40):
        await append(redis, "f-2", version)
        if version % 10 == 0:
            with pytest.raises(DependencyUnavailableError):
                await sender.deliver()
            assert await pending(redis) == 1
    push.failing = False
    await sender.deliver()
    (message,) = push.of("r-1")
    assert [change["version"] for change in message["changes"]] == [39]
    assert await pending(redis) == 0


async def test_a_broadcaster_that_fails_rests_before_it_tries_again(redis: Redis) -> None:
    push = Recorder()
    push.failing = True
    clock = Clock()
    sender = Broadcaster(
        redis,
        StreamGroup(redis, BROADCAST, STREAMS),
        Sequences(redis, clock),
        DirectoryCache(redis),
        push,  # type: ignore[arg-type]
        DeadLetters(redis),
        clock,
    )
    await append(redis, "f-2", 1)

    async def woken() -> int:
        sender.wake()
        await sender._background.idle()
        return push.attempts

    assert await woken() == 1
    assert await woken() == 1, "too early"
    clock.stopped_at += 501
    assert await woken() == 2
    clock.stopped_at += 501
    assert await woken() in {2, 3}, "the pause doubles, less a random part"
    push.failing = False
    # A delivery lasts until its regions have rested.
    clock.stopped_at = 0
    assert await woken() >= 3
    assert _facilities(push) == ["f-2"]


async def test_a_pause_begun_before_the_clock_was_set_back_is_over(redis: Redis) -> None:
    push = Recorder()
    push.failing = True
    times = [1_795_000_000_000]
    sender = Broadcaster(
        redis,
        StreamGroup(redis, BROADCAST, STREAMS),
        Sequences(redis, lambda: times[-1]),
        DirectoryCache(redis),
        push,  # type: ignore[arg-type]
        DeadLetters(redis),
        lambda: times[-1],
    )
    await append(redis, "f-2", 1)
    for attempts in (1, 2):
        sender.wake()
        await sender._background.idle()
        assert push.attempts == attempts
        times.append(times[0] - 3_600_000)


async def test_without_a_directory_changes_wait_for_one(redis: Redis) -> None:
    push = Recorder()
    await append(redis, "f-2", 1)
    published = await redis.get(keys.DIRECTORY_GENERATION)
    await redis.delete(keys.DIRECTORY_GENERATION)
    await broadcaster(redis, push).deliver()
    assert (push.sent, await pending(redis)) == ([], 1)
    await redis.set(keys.DIRECTORY_GENERATION, published or b"")
    await broadcaster(redis, push).deliver()
    assert _facilities(push) == ["f-2"]


async def test_the_lease_is_kept_while_a_message_takes_its_time(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.broadcast.broadcaster.LEASE_MS", 150)
    push = Recorder()
    sending, go = asyncio.Event(), asyncio.Event()
    send = push.send_to_group

    async def slowly(group: str, message: dict[str, Any]) -> None:
        sending.set()
        await go.wait()
        await send(group, message)

    monkeypatch.setattr(push, "send_to_group", slowly)
    await append(redis, "f-2", 1)
    delivering = asyncio.create_task(broadcaster(redis, push).deliver())
    async with asyncio.timeout(10):
        await sending.wait()
        await asyncio.sleep(0.5)
    await broadcaster(redis, push).deliver()
    go.set()
    await delivering
    assert _facilities(push) == ["f-2"], "sent once: nobody else took over"


def _facilities(push: Recorder) -> list[str]:
    return [change["facilityId"] for _, message, _ in push.sent for change in message["changes"]]
