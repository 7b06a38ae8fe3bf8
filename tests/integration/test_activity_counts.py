"""Activity is counted once, whatever is repeated, cut otherwise, late or crashes, on a real Redis and SQLite."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.domain.activity import DAY, HOUR, MINUTE, ActivityHour, Counts, Granularity, totals
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import SessionTiming
from shared.domain.uptime import Span
from shared.pipeline.activity import ActivityFold
from shared.pipeline.ingest import Chunk, Positions, split
from shared.registry import keys
from shared.registry.activity import KEEP, ActivityCounters
from shared.registry.client import text
from shared.registry.registry import Registry
from shared.registry.results import UNASSIGNED, Reading, StraddleError
from shared.store.history import SqlHistoryStore
from shared.store.monitor import SqlMonitorStore
from shared.store.opening import open_history_store, open_monitor_store
from tests.integration.store_databases import execute
from tests.redis_server import stream_rows

TTL, GRACE = 90_000, 5_000
NOON = 1_795_000_000_000 // DAY * DAY + 12 * HOUR
MIDNIGHT = NOON + 12 * HOUR


class Site:
    """Everything between heartbeats and SQL, without the functions around it."""

    def __init__(self, client: Redis, folder: Path) -> None:
        self.client = client
        self.address = f"sqlite:///{folder}/monitor.db"
        self.registry = Registry(client, SessionTiming(TTL, GRACE))
        self.counters = ActivityCounters(client)
        self.store: SqlMonitorStore = open_monitor_store(self.address)
        self.reader: SqlHistoryStore = open_history_store(self.address, lambda: NOON)
        self.store.migrate()
        self.time = NOON

    async def clear(self) -> None:
        await self.client.flushall()
        execute(self.address, "DELETE FROM facility_activity_hours")

    async def beat(self, *beats: tuple[str, int], facility: str = "f-1", leaving: bool = False) -> None:
        """Hears `user/session` at the given moments, each for the first time."""
        await self.registry.ingest([(facility, heartbeat(name, at, leaving=leaving)) for name, at in beats])

    async def sweep(self, watermark: int) -> None:
        for partition in keys.ALL_PARTITIONS:
            while (await self.registry.sweep(partition, watermark)).more:
                pass

    async def fold(self, now: int) -> int:
        async def renew() -> None:
            pass

        return await ActivityFold(self.counters, self.store, lambda: now).run(renew)

    async def hours(self, facility: str = "f-1") -> list[ActivityHour]:
        """What Redis and SQL hold together."""
        starts = range(NOON - DAY, NOON + 2 * DAY, HOUR)
        counted = [
            hour
            for at in range(0, len(starts), 40)
            for hour in await self.counters.hours(facility, starts[at : at + 40])
        ]
        newer = {(hour.start, hour.epoch) for hour in counted}
        recorded = self.reader.activity(facility, Span(0, NOON + 9 * DAY))
        return counted + [hour for hour in recorded if (hour.start, hour.epoch) not in newer]

    async def minutes(self, facility: str = "f-1") -> dict[int, Counts]:
        found = totals(await self.hours(facility), Granularity.MINUTE)
        return {start: bucket.counts for start, bucket in sorted(found.items())}

    async def total(self, facility: str = "f-1") -> Counts:
        return sum((await self.minutes(facility)).values(), Counts())


def heartbeat(name: str, at: int, *, leaving: bool = False) -> Heartbeat:
    user, _, session = name.partition("/")
    return Heartbeat(user, session, at, leaving=leaving)


@pytest.fixture
async def site(redis: Redis, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(redis, tmp_path)
    yield site
    site.store.close()
    site.reader.close()


async def test_beats_starts_and_ends_are_counted_in_the_minute_they_happened(site: Site) -> None:
    await site.beat(("u-1/a", NOON + 1), ("u-2/b", NOON + 30_000), ("u-1/a", NOON + 60_000))
    await site.beat(("u-1/a", NOON + 61_000), leaving=True)
    await site.beat(("u-3/c", NOON + 61_000))
    await site.registry.end_session("u-3", "c", ["f-1"], NOON + 185_000, NOON + DAY)
    await site.sweep(NOON + 10 * MINUTE)
    assert await site.minutes() == {
        NOON: Counts(heartbeats=2, started=2),
        NOON + MINUTE: Counts(heartbeats=2, started=1, left=1),
        NOON + 2 * MINUTE: Counts(expired=1),
        NOON + 3 * MINUTE: Counts(ended=1),
    }


async def test_users_are_counted_by_hour_and_day_however_many_sessions_they_have(site: Site) -> None:
    for hour in (23 * HOUR, 23 * HOUR + 30 * MINUTE, DAY):
        for number in range(40):
            await site.beat((f"u-{number % 20}/{number}", NOON - 12 * HOUR + hour + number))
    await site.beat(("late/a", MIDNIGHT + 50 * MINUTE))
    found = totals(await site.hours(), Granularity.HOUR)
    assert {start: bucket.users for start, bucket in found.items()} == {MIDNIGHT - HOUR: 20, MIDNIGHT: 21}
    days = totals(await site.hours(), Granularity.DAY)
    assert {start: bucket.users for start, bucket in days.items()} == {NOON - 12 * HOUR: 20, MIDNIGHT: 21}


async def test_a_user_is_heard_in_each_hour_of_a_long_session(site: Site) -> None:
    for minute in range(0, 180):
        await site.beat(("u-1/a", NOON + minute * MINUTE))
    found = totals(await site.hours(), Granularity.HOUR)
    assert [(bucket.counts.heartbeats, bucket.users) for bucket in found.values()] == [(60, 1)] * 3


async def test_sessions_without_a_facility_are_no_facilitys_activity(site: Site) -> None:
    await site.beat(("u-1/a", NOON), facility=UNASSIGNED)
    await site.sweep(NOON + HOUR)
    assert await site.client.keys("activity*") == []
    assert await site.client.keys("users*") == []


async def test_what_is_told_of_a_session_ended_by_command_does_not_count(site: Site) -> None:
    await site.beat(("u-1/a", NOON))
    await site.registry.end_session("u-1", "a", ["f-1"], NOON + 1, NOON + DAY)
    await site.beat(("u-1/a", NOON + 2))
    assert await site.total() == Counts(heartbeats=1, started=1, ended=1)


async def test_given_again_nothing_counts_given_late_it_does(site: Site) -> None:
    newest, older = [("f-1", heartbeat("u-1/a", NOON + 9))], [("f-1", heartbeat("u-1/a", NOON + 3))]
    await site.registry.ingest(newest, Reading("0", 5, 5))
    await site.registry.ingest(older, Reading("1", 7, 7))
    for _ in range(2):
        await site.registry.ingest(newest, Reading("0", 5, 5))
        await site.registry.ingest(older, Reading("1", 7, 7))
    assert (await site.total()).heartbeats == 2
    # Event Hubs may store a packet twice, when its answer to the first was lost.
    await site.registry.ingest(newest, Reading("0", 6, 6))
    assert (await site.total()).heartbeats == 2


async def test_where_the_stream_does_not_say_only_what_is_new_counts(site: Site) -> None:
    for at in (NOON, NOON, NOON + 9, NOON + 3, NOON + 9):
        await site.beat(("u-1/a", at))
    assert (await site.total()).heartbeats == 2


async def test_an_event_hub_that_begins_anew_is_counted_on(site: Site) -> None:
    await site.registry.ingest([("f-1", heartbeat("u-1/a", NOON))], Reading("0", 500, 900))
    for position in range(3):
        again = [("f-1", heartbeat("u-1/a", NOON + 1 + position))]
        for _ in range(2):
            await site.registry.ingest(again, Reading("0", position, position))
    assert (await site.total()).heartbeats == 4


async def test_what_lies_across_the_position_is_refused_and_changes_nothing(site: Site) -> None:
    await site.registry.ingest([("f-1", heartbeat("u-1/a", NOON))], Reading("0", 5, 8))
    before = await site.total()
    with pytest.raises(StraddleError):
        await site.registry.ingest([("f-1", heartbeat("u-1/a", NOON + 5))], Reading("0", 8, 9))
    assert await site.total() == before
    assert await site.registry.read_positions("0") == {8}
    assert await site.registry.read_positions("1") == set()


async def test_a_repeated_fold_changes_nothing(site: Site) -> None:
    await site.beat(("u-1/a", NOON), ("u-2/b", NOON + MINUTE))
    expected = await site.hours()
    assert await site.fold(NOON) == 0  # the minute is not over
    assert await site.fold(NOON + MINUTE) == 1
    assert await site.fold(NOON + 2 * MINUTE) == 0
    assert await site.hours() == expected
    [partition] = {keys.partition_of("f-1")}
    assert await site.client.zscore(partition.activity_due, f"{NOON // HOUR}/f-1") == NOON + HOUR + KEEP


async def test_what_is_counted_while_sql_is_written_is_written_next_time(site: Site) -> None:
    partition = keys.partition_of("f-1")
    await site.beat(("u-1/a", NOON))
    due = await site.counters.due(partition, NOON + MINUTE, 10)
    await site.beat(("u-1/a", NOON + 1), ("u-1/a", NOON + 2))
    site.store.record_activity([hour.activity for hour in due])
    await site.counters.settle(partition, due, NOON + MINUTE)
    assert await site.fold(NOON + MINUTE) == 1
    assert site.reader.activity("f-1", Span(NOON, NOON + 1))[0].counts == Counts(heartbeats=3, started=1)
    await site.beat(("u-1/a", NOON + 3))
    assert await site.fold(NOON + MINUTE) == 1
    assert site.reader.activity("f-1", Span(NOON, NOON + 1))[0].counts == Counts(heartbeats=4, started=1)


async def test_of_two_that_fold_at_once_only_one_settles(site: Site) -> None:
    partition = keys.partition_of("f-1")
    await site.beat(("u-1/a", NOON))
    first = await site.counters.due(partition, NOON + MINUTE, 10)
    second = await site.counters.due(partition, NOON + MINUTE, 10)
    await site.counters.settle(partition, first, NOON + MINUTE)
    await site.beat(("u-1/a", NOON + 1))
    await site.counters.settle(partition, second, NOON + MINUTE)
    [due] = await site.counters.due(partition, NOON + MINUTE, 10)
    assert due.unwritten == (("0b", 1),)


async def test_an_hour_that_is_over_leaves_redis_and_what_comes_later_adds_to_it(site: Site) -> None:
    await site.beat(("u-1/a", NOON), ("u-2/b", NOON + 1))
    assert await site.fold(NOON + HOUR + KEEP) == 1
    assert await site.client.keys("activity:*") == []
    assert await site.client.keys(f"users:*:{NOON // HOUR}:*") == []
    await site.sweep(NOON + HOUR)  # ends both, in the hour that has gone
    await site.registry.ingest([("f-1", heartbeat("u-3/c", NOON + 5))], Reading("0", 1, 1))
    expected = Counts(heartbeats=3, started=2, expired=2)
    assert await site.total() == expected
    assert await site.fold(NOON + HOUR + KEEP) == 1
    assert await site.client.keys("activity:*") == []
    assert await site.total() == expected
    assert totals(await site.hours(), Granularity.HOUR)[NOON].users == 2


async def test_a_day_that_is_over_leaves_redis_once_its_hours_are_written(site: Site) -> None:
    await site.beat(("u-1/a", NOON), ("u-1/a", MIDNIGHT - 1), ("u-2/b", MIDNIGHT))
    await site.fold(MIDNIGHT + KEEP)
    days = {text(key).rsplit(":", 1)[0] for key in await site.client.keys("users:*:day*")}
    tag = keys.partition_of("f-1").tag
    assert days == {f"users:{tag}:day{(NOON // DAY) + more}" for more in (0, 1)}
    await site.fold(MIDNIGHT + HOUR + KEEP)
    await site.fold(MIDNIGHT + HOUR + KEEP + 1)
    assert {text(key).rsplit(":", 1)[0] for key in await site.client.keys("users:*")} == {
        f"users:{tag}:day{(NOON // DAY) + 1}"
    }
    await site.fold(MIDNIGHT + 3 * DAY)
    await site.fold(MIDNIGHT + 3 * DAY)
    assert await site.client.keys("users:*") == []
    assert await site.client.keys("activity*") == []
    assert {start: bucket.users for start, bucket in totals(await site.hours(), Granularity.DAY).items()} == {
        NOON - 12 * HOUR: 1,
        MIDNIGHT: 1,
    }


async def test_the_first_epoch_closes_nothing(site: Site) -> None:
    await site.client.set(keys.EPOCH, 1)
    await site.beat(("u-1/a", NOON))
    await site.fold(NOON + MINUTE)
    await site.beat(("u-2/a", NOON + MINUTE))
    await site.fold(NOON + 2 * MINUTE)
    assert totals(await site.hours(), Granularity.HOUR)[NOON].users == 2


async def test_where_redis_goes_back_to_an_older_copy_what_comes_then_adds_up(site: Site) -> None:
    await site.client.set(keys.EPOCH, 1)
    assert await site.fold(NOON) == 0
    await site.beat(("u-1/a", NOON))
    partition = keys.partition_of("f-1")
    names = [partition.activity(NOON // HOUR, "f-1"), partition.activity_due]
    older = [(name, await site.client.dump(name) or b"") for name in names]
    await site.beat(("u-1/a", NOON + 1), ("u-1/a", NOON + 2))
    await site.fold(NOON + MINUTE)
    for name, copy in older:
        await site.client.restore(name, 0, copy, replace=True)
    await site.client.set(keys.EPOCH, 2)
    await site.fold(NOON + MINUTE)
    await site.beat(("u-1/a", NOON + 2 * MINUTE))
    for _ in range(2):
        assert await site.total() == Counts(heartbeats=4, started=1)
        await site.fold(NOON + 3 * MINUTE)


async def test_after_a_loss_of_redis_data_the_rest_of_the_hour_adds_up(site: Site) -> None:
    await site.beat(("u-1/a", NOON), ("u-2/b", NOON + 1))
    await site.fold(NOON + MINUTE)
    await site.client.flushall()
    await site.beat(("u-1/a", NOON + 2 * MINUTE))
    await site.fold(NOON + 3 * MINUTE)
    assert await site.total() == Counts(heartbeats=3, started=3)


# The whole path at random: two streams, whose batches are repeated from an earlier point and cut otherwise.


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
                        site.store.record_activity([hour.activity for hour in due])
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
