"""Silence into ends: only what the watermark has passed, only while the pipeline listens."""

import asyncio
import time

import pytest
from redis.asyncio.client import PubSub

from shared.domain.facility import FacilityStatus
from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.registry.client import text
from shared.registry.watermarks import IN_FLIGHT
from tests.integration.pipeline_world import GRACE, STALE_AFTER, TTL, World


async def test_a_silent_session_ends_at_its_deadline_once_the_watermark_has_passed_it(world: World) -> None:
    await world.beat("u-1")
    heard = world.time
    await world.run_on(TTL - 10_000)
    assert await world.sweep_after(10_000) == 0, "the watermark is not there yet"
    assert await world.sweep_after(IN_FLIGHT) == 1
    assert await world.changes("f-1") == [("online", heard, 1, "heartbeat"), ("offline", heard + TTL, 2, "expired")]


async def test_a_session_that_left_ends_after_the_grace(world: World) -> None:
    await world.beat("u-1")
    await world.beat("u-1", leaving=True)
    left = world.time
    assert await world.sweep_after(GRACE) == 0
    assert await world.sweep_after(1_000) == 1
    assert (await world.changes("f-1"))[-1] == ("offline", left + GRACE, 2, "left")


async def test_the_watermark_moves_only_with_the_canaries_of_all_partitions(world: World) -> None:
    await world.sweep_after(0)
    first = (await world.watermarks.load()).watermark
    assert first == world.time - IN_FLIGHT

    world.publisher.held.add("1")
    await world.sweep_after(2_000)
    assert (await world.watermarks.load()).watermark == first, "partition 1 has shown nothing since"

    await world.publisher.release("1")
    sent_at = world.time - 400
    assert await world.watermarks.ingested(("0", "1")) == sent_at - IN_FLIGHT
    await world.sweep_after(1_000)
    assert (await world.watermarks.load()).watermark == world.time - IN_FLIGHT


async def test_before_every_partition_was_heard_there_is_no_watermark_and_nobody_ends(world: World) -> None:
    world.publisher.held.add("0")
    await world.beat("u-1")
    for _ in range(12):
        assert await world.sweep_after(10_000) == 0
    assert (await world.watermarks.load()).watermark is None
    assert (await world.state("f-1")).status is FacilityStatus.ONLINE


async def test_while_the_pipeline_is_stalled_nobody_ends_and_everybody_is_told(world: World) -> None:
    await world.beat("u-1")
    await world.sweep_after(0)
    stopped = world.time - IN_FLIGHT
    world.publisher.held.add("1")
    for _ in range(2 * TTL // 10_000):
        assert await world.sweep_after(10_000) == 0
    assert (await world.state("f-1")).status is FacilityStatus.ONLINE
    assert await world.announcements() == [(True, stopped)]
    messages = await world.deliver()
    assert {each["regionId"] for each in messages if each["type"] == "presence.stale"} == {"r-1", "r-2"}


async def test_after_a_stall_those_heard_within_a_ttl_never_ended_and_the_others_end_at_their_true_time(
    world: World,
) -> None:
    await world.beat("u-1")
    await world.beat("u-2")
    heard = world.time
    await world.sweep_after(0)
    world.publisher.held.add("1")
    await world.run_on(2 * TTL)
    await world.publisher.release("1")

    await world.sweep_after(1_000)
    back = world.time
    assert (await world.watermarks.load()).hold_until == back + TTL
    await world.run_on(TTL - 10_000, beats=["u-1"])
    assert [row[0] for row in await world.changes("f-2")] == ["online"]
    await world.run_on(20_000, beats=["u-1"])

    assert await world.changes("f-1") == [("online", heard, 1, "heartbeat")]
    assert await world.changes("f-2") == [("online", heard, 1, "heartbeat"), ("offline", heard + TTL, 2, "expired")]
    assert [stale for stale, _ in await world.announcements()] == [True, False]


async def test_a_shorter_stop_only_delays(world: World) -> None:
    await world.beat("u-1")
    heard = world.time
    await world.run_on(TTL - 10_000)
    world.publisher.held.add("0")
    for _ in range(4):
        assert await world.sweep_after(3_000) == 0
    await world.publisher.release("0")
    assert await world.sweep_after(1_000) == 1
    assert STALE_AFTER > 4 * 3_400, "or this would be a stall"
    assert (await world.changes("f-1"))[-1] == ("offline", heard + TTL, 2, "expired")
    assert await world.announcements() == []


async def test_without_event_hubs_the_watermark_stands_and_the_sweep_does_not_fail(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.sweep_after(0)
    before = (await world.watermarks.load()).watermark

    async def away(now: int, mark: tuple[int, int]) -> dict[str, int]:
        raise DependencyUnavailableError("eventHubs")

    monkeypatch.setattr(world.publisher, "send_canaries", away)
    await world.sweep_after(1_000)
    state = await world.watermarks.load()
    assert (state.watermark, state.stale) == (before, False)
    await world.sweep_after(STALE_AFTER)
    await world.sweep_after(1_000)
    assert (await world.watermarks.load()).stale_since == before


async def test_while_another_process_sweeps_this_one_does_not(world: World) -> None:
    await world.redis.set(keys.SWEEP_LEASE, "another", px=60_000)
    await world.sweep_after(0)
    assert await world.swept_at() is None


async def test_an_expired_key_ends_its_facility_if_the_watermark_agrees(world: World) -> None:
    await world.beat("u-9")
    await world.run_on(TTL)
    key = keys.partition_of("f-2").session("f-2", "u-9/s")

    assert (await world.sweep.run_for_key(key)).ended == 0, "a missing key proves nothing by itself"
    assert await world.registry.next_due("f-2", keys.partition_of("f-2")) == world.time
    world.advance(IN_FLIGHT)
    for partition, sent_at in (await world.publisher.send_canaries(world.time)).items():
        assert await world.redis.hget(keys.INGESTED, partition) == str(sent_at).encode()
    assert (await world.sweep.run_for_key(key)).ended == 1
    assert (await world.state("f-2")).status is FacilityStatus.OFFLINE
    assert (await world.state("f-3")).status is FacilityStatus.ONLINE, "only the key's facility had its turn"
    assert await world.registry.next_due("f-2", keys.partition_of("f-2")) is None
    assert (await world.sweep.run_for_key(key)).ended == 0


@pytest.mark.parametrize("key", ["session", "session:{p99}:f-1/u-1/s", "sessions:{p01}:f-1", "lease:sweep", ""])
async def test_an_expired_key_that_is_no_session_is_ignored(world: World, key: str) -> None:
    assert (await world.sweep.run_for_key(key)).ended == 0


async def test_redis_announces_the_key_after_its_deadline(world: World) -> None:
    """The hint itself: a key that Redis finds overdue is published with the name that the sweep understands."""
    await world.beat("u-1")
    partition = keys.partition_of("f-1")
    key = partition.session("f-1", "u-1/s")
    assert await world.redis.pexpiretime(key) == world.time + TTL + 5_000
    async with world.redis.pubsub() as listener:
        await listener.subscribe(keys.EXPIRED_CHANNEL)
        assert await listener.get_message(timeout=10)
        await world.redis.pexpire(key, 1)
        message = await _next_message(listener)
    assert text(message["data"]) == key
    assert keys.facility_of_session_key(text(message["data"])) == (partition, "f-1")


async def _next_message(listener: PubSub) -> dict[str, bytes]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is not None:
            return dict(message)
        await asyncio.sleep(0)
    raise AssertionError("nothing was announced")


async def test_a_first_start_of_which_one_partition_is_never_read_is_stale_once_sessions_are_there(
    world: World,
) -> None:
    """Nobody would ever expire, and nobody would be told why."""
    world.publisher.held.add("1")
    await world.sweep_after(0)
    await world.sweep_after(STALE_AFTER + 5_000)
    assert await world.announcements() == [], "without sessions a first start is not stalled"
    await world.beat("u-1")
    first_heard = world.time
    await world.sweep_after(STALE_AFTER // 2)
    assert await world.announcements() == []
    await world.run_on(TTL + 20_000)
    assert await world.announcements() == [(True, first_heard)]
    assert (await world.watermarks.load()).stale
    assert (await world.state("f-1")).status is FacilityStatus.ONLINE

    await world.publisher.release("1")
    await world.run_on(TTL + 30_000)
    assert [stale for stale, _ in await world.announcements()] == [True, False]
    assert await world.changes("f-1") == [
        ("online", first_heard, 1, "heartbeat"),
        ("offline", first_heard + TTL, 2, "expired"),
    ]
