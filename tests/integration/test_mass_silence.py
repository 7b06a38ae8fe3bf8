"""Rule 7 with the sweep and the scripts, on a real server."""

from collections.abc import AsyncIterator
from itertools import batched
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.domain.heartbeat import Heartbeat
from shared.domain.silence import Census
from shared.registry import keys
from shared.registry.registry import Registry
from shared.registry.watermarks import IN_FLIGHT
from tests.integration.sweep_world import START, World, opened

TTL = 9_000
CROWD = [(f"f-{n}", f"u-{n}") for n in range(25)]
HALF, OTHERS = CROWD[:13], CROWD[13:]


@pytest.fixture
async def world(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(redis, tmp_path, ttl=TTL) as world:
        yield world


async def fall_silent(world: World) -> None:
    """All are heard at 1 s, nobody after; the hold has begun when this returns."""
    await world.until(1_000)
    await world.hear(CROWD)
    await world.until(11_000)
    assert (await world.state()).silence.holds


async def test_nobody_expires_when_all_fall_silent_and_stale_is_announced(world: World) -> None:
    await fall_silent(world)
    await world.until(60_000)
    assert await world.offline() == []
    [(stale, since)] = await world.announced()
    assert stale
    assert 9_000 <= since <= 10_000


async def test_when_they_come_back_nothing_has_happened(world: World) -> None:
    await fall_silent(world)
    await world.until(20_000)
    await world.hear(CROWD)
    await world.until(21_000)
    assert [stale for stale, _ in await world.announced()] == [True, False]
    assert await world.offline() == []
    assert len(await world.transitions()) == len(CROWD)


async def test_those_who_come_back_a_beat_later_are_not_taken_for_gone(world: World) -> None:
    await fall_silent(world)
    await world.until(20_000)
    await world.hear(HALF)
    await world.until(22_000)
    await world.hear(OTHERS)
    await world.until(24_000)
    assert [stale for stale, _ in await world.announced()] == [True, False]
    assert await world.offline() == []


async def test_who_really_left_during_the_silence_ends_at_the_true_time_soon_after_it(world: World) -> None:
    await fall_silent(world)
    for time in (20_000, 23_000):
        await world.until(time)
        await world.hear(HALF)
    await world.until(24_000)
    ends = 1_000 - IN_FLIGHT + TTL
    assert sorted(await world.offline()) == sorted((facility, "offline", ends) for facility, _ in OTHERS)
    assert [stale for stale, _ in await world.announced()] == [True, False]


async def test_when_the_hold_runs_out_the_truth_is_told_with_true_times(world: World) -> None:
    await fall_silent(world)
    await world.until(80_000)
    ends = 1_000 - IN_FLIGHT + TTL
    assert await world.offline() == sorted((facility, "offline", ends) for facility, _ in CROWD)
    assert [stale for stale, _ in await world.announced()] == [True, False]


async def test_the_rule_rests_after_a_hold_that_ran_out(world: World) -> None:
    await world.until(1_000)
    await world.hear(HALF)
    for time in range(4_000, 80_000, 3_000):
        # The first half falls silent; others, fewer than the share, come later and are heard throughout the hold.
        await world.until(time)
        if time > 10_000:
            await world.hear(OTHERS[:6])
    assert len(await world.offline()) in (0, len(HALF)), "13 are too few for the rule"
    await world.hear(CROWD)
    await world.until(world.time + 75_000)
    assert [stale for stale, _ in await world.announced()] == [True, False]
    assert not (await world.state()).silence.resting, "nobody is left, so everybody is heard"
    await world.hear(CROWD)
    await world.until(world.time + 12_000)
    assert (await world.state()).silence.holds, "and the rule applies again"


async def test_those_who_leave_end_during_the_hold(world: World) -> None:
    await fall_silent(world)
    await world.hear([CROWD[0]], leaving=True)
    await world.until(18_000)
    assert await world.offline() == [("f-0", "offline", 11_000 - IN_FLIGHT + 5_000)]
    await world.registry.end_session("u-1", "s", ["f-1"], world.now(), world.now() + 1_000)
    assert await world.offline() == [
        ("f-0", "offline", 11_000 - IN_FLIGHT + 5_000),
        ("f-1", "offline", 18_000),
    ]


async def test_goodbyes_do_not_count_as_silence(world: World) -> None:
    """Closing time: 20 of 25 say goodbye, the others go on, one falls silent."""
    await world.until(1_000)
    await world.hear(CROWD)
    await world.until(3_000)
    await world.hear(CROWD[:20], leaving=True)
    for time in range(4_000, 20_000, 3_000):
        await world.until(time)
        await world.hear(CROWD[21:])
    assert len(await world.offline()) == 21
    assert await world.announced() == []


async def test_too_few_sessions_are_believed(world: World) -> None:
    await world.until(1_000)
    await world.hear(CROWD[:19])
    await world.until(12_000)
    assert len(await world.offline()) == 19
    assert await world.announced() == []


async def test_a_session_at_two_facilities_counts_once(world: World) -> None:
    await world.until(1_000)
    await world.hear([*CROWD[:15], *((f"other-{n}", user) for n, (_, user) in enumerate(CROWD[:15]))])
    await world.until(12_000)
    assert len(await world.offline()) == 30, "fifteen sessions are too few for the rule"


async def test_a_hold_of_zero_switches_the_rule_off(redis: Redis, tmp_path: Path) -> None:
    async with opened(redis, tmp_path, ttl=TTL, hold=0) as world:
        await world.until(1_000)
        await world.hear(CROWD)
        await world.until(12_000)
        assert len(await world.offline()) == 25
        assert await world.announced() == []


async def test_an_expired_key_ends_nobody_whom_the_next_sweep_would_hold(world: World) -> None:
    await world.until(1_000)
    await world.hear(CROWD)
    await world.until(9_000)
    world._clock[0] = START + 10_000
    await world.pipe.send_canaries(world.now())
    key = keys.partition_of("f-3").session("f-3", "u-3/s")
    assert (await world.sweeper.run_for_key(key)).ended == 0
    await world.hear(CROWD[4:])
    world._clock[0] += 200
    await world.pipe.send_canaries(world.now())
    assert (await world.sweeper.run_for_key(key)).ended == 1


async def test_a_stall_and_silence_are_one_announcement(world: World) -> None:
    await fall_silent(world)
    world.pipe.is_open = False
    await world.until(20_000)
    assert (await world.state()).stale_since is not None
    world.pipe.is_open = True
    await world.until(21_000)
    await world.hear(CROWD)
    await world.until(26_000)
    assert [stale for stale, _ in await world.announced()] == [True], "one TTL after the stall is not over"
    await world.hear(CROWD)
    await world.until(32_000)
    assert [stale for stale, _ in await world.announced()] == [True, False]
    assert await world.offline() == []


async def test_a_new_process_goes_on_with_the_hold(world: World, redis: Redis, tmp_path: Path) -> None:
    await fall_silent(world)
    until = (await world.state()).silence.until
    other = World(redis, tmp_path / "monitor.db", world._clock, world.sweeper._timing, world.silence)
    await other.until(40_000)
    assert (await other.state()).silence.until == until
    assert await other.offline() == []
    other.store.close()


async def test_a_large_registry_is_sampled(redis: Redis, world: World) -> None:
    registry: Registry = world.registry
    now = world.now()
    for group in range(4):
        beats = [
            (f"site-{facility}", Heartbeat(f"u-{facility}-{n}", "s", now - 7_000 * (facility % 4 == 0)))
            for facility in range(group * 300, group * 300 + 300)
            for n in range(10)
        ]
        await registry.ingest(beats)
    census = await registry.census(now, now - 6_000)
    assert isinstance(census, Census)
    assert 0.9 * 12_000 < census.online < 1.1 * 12_000
    assert 0.65 < census.heard / census.online < 0.85
    assert not census.due


async def test_a_facility_of_many_sessions_is_sampled_too(world: World) -> None:
    now = world.now()
    await world.registry.ingest([("stadium", Heartbeat(f"u-{n}", "s", now - 7_000 * (n % 2))) for n in range(3_000)])
    census = await world.registry.census(now, now - 6_000)
    assert 2_900 < census.online < 3_100
    assert 0.4 < census.heard / census.online < 0.6


@pytest.mark.parametrize(
    ("large", "silent_are_large", "small", "of_each"),
    [(5_000, True, 100, 100), (5_000, False, 100, 100), (1_200, True, 60, 30), (800, False, 20, 30)],
)
async def test_a_large_site_counts_as_much_as_it_has_people(
    world: World, large: int, silent_are_large: bool, small: int, of_each: int
) -> None:
    now = world.now()
    silent, heard = now - 7_000, now
    people = [("hq", Heartbeat(f"u-{n}", "s", silent if silent_are_large else heard)) for n in range(large)]
    for site in range(small):
        at = heard if silent_are_large else silent
        people += [(f"site-{site}", Heartbeat(f"u-{site}-{n}", "s", at)) for n in range(of_each)]
    for some in batched(people, 4_000, strict=False):
        await world.registry.ingest(some)
    truly = sum(1 for _, beat in people if beat.received_at == heard) / len(people)
    # The sample's seed is the watermark.
    for watermark in range(now, now + 40):
        census = await world.registry.census(watermark, now - 6_000)
        assert census.online == pytest.approx(len(people), rel=0.02)
        assert census.heard / census.online == pytest.approx(truly, abs=0.05)


async def test_what_ended_and_waits_for_sql_does_not_blur_the_sample(world: World) -> None:
    now = world.now()
    await world.registry.ingest([("f-1", Heartbeat("u", f"gone-{n}", now - 20_000)) for n in range(3_000)])
    await world.registry.ingest(
        [("f-1", Heartbeat("u", f"gone-{n}", now - 19_000, leaving=True)) for n in range(3_000)]
    )
    for partition in keys.ALL_PARTITIONS:
        while (await world.registry.sweep(partition, now - 10_000)).more:
            pass
    await world.registry.ingest([("f-1", Heartbeat(f"u-{n}", "s", now - 7_000 * (n < 600))) for n in range(1_000)])
    census = await world.registry.census(now, now - 6_000)
    assert census.online == pytest.approx(1_000, rel=0.02)
    assert census.heard / census.online == pytest.approx(0.4, abs=0.15)


async def test_sessions_online_are_people_where_they_are_few_and_presences_where_they_are_many(world: World) -> None:
    now = world.now()
    await world.registry.ingest([(site, Heartbeat("u", "s", now)) for site in ("f-1", "f-2", "f-3")])
    assert await world.registry.count_online(now) == 1
    for facility in range(20):
        await world.registry.ingest([(f"site-{facility}", Heartbeat(f"u-{n}", "s", now)) for n in range(500)])
    assert await world.registry.count_online(now) == 3 + 20 * 500
