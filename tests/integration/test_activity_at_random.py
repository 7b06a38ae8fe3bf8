"""Activity is counted once on the whole path at random: two streams, whose batches are repeated from an earlier point
and cut otherwise, folds that crash, and sweeps; and while Redis goes back to older copies of its data."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.domain.activity import DAY, HOUR, MINUTE
from shared.domain.heartbeat import Heartbeat
from shared.pipeline.ingest import Chunk, Positions, split
from shared.registry import keys
from shared.registry.results import UNASSIGNED, Reading, StraddleError
from tests.integration.activity_site import NOON, Site, heartbeat, opened
from tests.redis_server import stream_rows


@dataclass(frozen=True)
class Read:
    """The batch of a stream from `back` before its position up to `ahead` after it."""

    stream: int
    back: int
    ahead: int


@dataclass(frozen=True)
class Fold:
    """Writes to SQL; `crash` dies between commit and settling."""

    minutes: int
    crash: bool


@dataclass(frozen=True)
class Sweep:
    minutes: int


@dataclass(frozen=True)
class Beats:
    """Some beats within a minute, after some minutes."""

    minutes: int
    number: int


@dataclass(frozen=True)
class Dying:
    """A fold whose process dies before or after a step."""

    step: str
    is_done: bool


NAMES = ["u-1/a", "u-2/b", "u-3/c"]
PLACES = ["f-1", "f-2", UNASSIGNED]
messages = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(PLACES), st.integers(0, 9), st.integers(0, 9)), max_size=14
)
plans = st.lists(
    st.one_of(
        st.builds(Read, st.integers(0, 1), st.integers(0, 4), st.integers(1, 5)),
        st.builds(Read, st.integers(0, 1), st.integers(0, 4), st.integers(1, 5)),
        st.builds(Fold, st.integers(0, 200), st.booleans()),
        st.builds(Sweep, st.integers(0, 150)),
    ),
    max_size=20,
)
times = st.lists(
    st.one_of(
        st.builds(Beats, st.sampled_from([0, 1, 59, 80]), st.integers(1, 3)),
        st.builds(Fold, st.sampled_from([0, 1, 80]), st.just(False)),
        st.builds(Dying, st.sampled_from(["seal", "enter", "due", "record", "settle"]), st.booleans()),
    ),
    max_size=5,
)
losses = st.lists(st.tuples(times, times), min_size=1, max_size=4)


class Streams:
    """Two streams with a heartbeat in each event. No two have the same receivedAt."""

    def __init__(self, contents: Sequence[Sequence[tuple[str, str, int, int]]]) -> None:
        self.events = [
            [
                (
                    place,
                    heartbeat(name, NOON + (number + early - 4) * 5 * MINUTE + 2 * number + stream, leaving=odd > 7),
                )
                for number, (name, place, early, odd) in enumerate(content)
            ]
            for stream, content in enumerate(contents)
        ]
        self.read = [0, 0]

    async def give(self, site: Site, step: Read) -> None:
        first = max(0, self.read[step.stream] - step.back)
        last = min(len(self.events[step.stream]), self.read[step.stream] + step.ahead) - 1
        if last < first:
            return
        self.read[step.stream] = max(self.read[step.stream], last + 1)
        positions = Positions()
        for number in range(first, last + 1):
            positions.begin(number, number)
        await self._give(
            site, str(step.stream), positions, Chunk(first, last, self.events[step.stream][first : last + 1])
        )

    async def _give(self, site: Site, stream: str, positions: Positions, chunk: Chunk) -> None:
        reading = Reading(stream, positions.of(chunk.first), positions.of(chunk.last))
        try:
            await site.registry.ingest(chunk.placed, reading)
        except StraddleError:
            for part in split(chunk, positions, await site.registry.read_positions(stream)):
                await self._give(site, stream, positions, part)

    def given(self, facility: str) -> Iterable[Heartbeat]:
        for events, read in zip(self.events, self.read, strict=True):
            yield from (beat for place, beat in events[:read] if place == facility and not beat.leaving)


@pytest.fixture
async def site(redis: Redis, tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(redis, tmp_path) as site:
        yield site


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.tuples(messages, messages), plan=plans)
async def test_whatever_happens_each_heartbeat_start_and_end_is_counted_once(
    site: Site, contents: tuple[list[tuple[str, str, int, int]], ...], plan: list[Read | Fold | Sweep]
) -> None:
    await site.clear()
    streams = Streams(contents)
    now = watermark = NOON - HOUR
    for step in plan:
        match step:
            case Read():
                await streams.give(site, step)
            case Fold(minutes, crash):
                now += minutes * MINUTE
                if crash:
                    for partition in keys.ALL_PARTITIONS:
                        due = await site.counters.due(partition, now, 100)
                        site.store.record_activity([hour.activity for hour in due.hours])
                else:
                    await site.fold(now)
            case Sweep(minutes):
                watermark += minutes * MINUTE
                await site.sweep(watermark)

    ended = Counter[tuple[str, int, str]]()
    for partition in keys.ALL_PARTITIONS:
        for row in await stream_rows(site.client, partition.ended):
            ended[row["facility"], int(row["ended"]) // MINUTE * MINUTE, row["reason"]] += 1
    for facility in PLACES[:2]:
        counted = await site.minutes(facility)
        beats = Counter(beat.received_at // MINUTE * MINUTE for beat in streams.given(facility))
        assert {start: counts.heartbeats for start, counts in counted.items() if counts.heartbeats} == beats
        for reason in ("expired", "left"):
            expected = {start: n for (place, start, why), n in ended.items() if (place, why) == (facility, reason)}
            assert {start: n for start, counts in counted.items() if (n := getattr(counts, reason))} == expected
        [state] = await site.registry.facility_states([facility])
        gone = sum(n for (place, _, _), n in ended.items() if place == facility)
        assert sum(counts.started for counts in counted.values()) == gone + state.sessions

    before = [await site.minutes(facility) for facility in PLACES]
    await site.fold(now + 30 * DAY)
    await site.fold(now + 60 * DAY)
    await site.fold(now + 60 * DAY)
    assert await site.client.keys("activity*") == []
    assert await site.client.keys("users*") == []
    assert [await site.minutes(facility) for facility in PLACES] == before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=losses, end=times)
async def test_however_often_redis_goes_back_to_older_copies_each_heartbeat_is_counted_once(
    site: Site,
    plan: list[tuple[list[Beats | Fold | Dying], list[Beats | Fold | Dying]]],
    end: list[Beats | Fold | Dying],
) -> None:
    """SQL has everything when Redis goes back; what is counted from the first step of the first fold on adds up."""
    await site.clear()
    now, told = NOON, 0

    async def go_through(steps: Sequence[Beats | Fold | Dying]) -> None:
        nonlocal now, told
        for step in steps:
            match step:
                case Beats(minutes, number):
                    now += minutes * MINUTE
                    for _ in range(number):
                        now, told = now + 1, told + 1
                        await site.beat(("u-1/a", now))
                case Fold(minutes):
                    now += minutes * MINUTE
                    await site.fold(now)
                case Dying(name, is_done):
                    await site.fold_until(name, now + MINUTE, is_done=is_done)

    await site.client.set(keys.EPOCH, 1)
    for epoch, (before, after) in enumerate(plan, 2):
        await go_through(before)
        copy = await site.copy()
        await go_through(after)
        await site.fold(now + MINUTE)
        await site.put_back(copy, epoch=epoch)
        assert await site.fold_until("enter", now, is_done=False)
    await go_through(end)

    for _ in range(3):
        now += 30 * DAY
        await site.fold(now)
    assert site.recorded().heartbeats == told
    assert await site.client.keys("activity*") == []
    assert await site.client.keys("users*") == []
