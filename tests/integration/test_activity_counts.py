"""Activity is counted once, whatever is repeated, late or lost."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.domain.activity import DAY, HOUR, MINUTE, Counts, Granularity, totals
from shared.domain.uptime import Span
from shared.pipeline import activity as fold
from shared.registry import keys
from shared.registry.activity import KEEP, DuePage
from shared.registry.client import text
from shared.registry.keys import Partition
from shared.registry.results import UNASSIGNED, Reading, StraddleError
from tests.integration.activity_site import NOON, Site, heartbeat, opened

MIDNIGHT = NOON + 12 * HOUR


@pytest.fixture
async def site(redis: Redis, tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(redis, tmp_path) as site:
        yield site


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
    site.store.record_activity([hour.activity for hour in due.hours])
    await site.counters.settle(partition, due.hours, NOON + MINUTE)
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
    await site.counters.settle(partition, first.hours, NOON + MINUTE)
    await site.beat(("u-1/a", NOON + 1))
    await site.counters.settle(partition, second.hours, NOON + MINUTE)
    [due] = (await site.counters.due(partition, NOON + MINUTE, 10)).hours
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


async def test_a_fold_that_another_has_overtaken_settles_nothing_that_came_since(site: Site) -> None:
    partition, later = keys.partition_of("f-1"), NOON + HOUR + KEEP
    await site.beat(("u-1/a", NOON))
    overtaken = await site.counters.due(partition, later, 10)
    await site.fold(later)
    await site.registry.ingest([("f-1", heartbeat("u-1/a", NOON + 5))], Reading("0", 1, 1))
    await site.total()  # which has it counted where an hour begins anew
    await site.counters.settle(partition, overtaken.hours, later)
    await site.fold(later)
    assert site.recorded() == Counts(heartbeats=2, started=1)


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
    await site.go_back(held=1, recorded=3)
    await site.fold(NOON + MINUTE)
    await site.beat(("u-1/a", NOON + 2 * MINUTE))
    for _ in range(2):
        assert await site.total() == Counts(heartbeats=4, started=1)
        await site.fold(NOON + 3 * MINUTE)


async def test_a_beat_while_an_older_copy_is_folded_adds_up_and_so_do_those_after_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.go_back(held=1, recorded=11)
    partition, due, told = keys.partition_of("f-1"), site.counters.due, list[DuePage]()

    async def due_and_then_a_beat(asked: Partition, now: int, limit: int) -> DuePage:
        page = await due(asked, now, limit)
        if asked == partition and not told:
            told.append(page)
            await site.beat(("u-1/a", NOON + 1_000))
        return page

    monkeypatch.setattr(site.counters, "due", due_and_then_a_beat)
    await site.fold(NOON + MINUTE)
    await site.beat(*(("u-1/a", NOON + 2 * MINUTE + number) for number in range(5)))
    for _ in range(2):
        await site.fold(NOON + 3 * MINUTE)
        assert await site.total() == Counts(heartbeats=17, started=1)
    assert site.recorded() == Counts(heartbeats=17, started=1)


@pytest.mark.parametrize("step", ["seal", "enter", "due", "record", "settle"])
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
async def test_beats_after_a_fold_of_an_older_copy_that_died_add_up(site: Site, step: str, is_done: bool) -> None:
    """They come after the first step of the fold, wherever it dies later."""
    await site.go_back(held=1, recorded=11)
    if (step, is_done) == ("seal", False):
        assert await site.fold_until("seal", NOON, is_done=True)
    assert await site.fold_until(step, NOON + MINUTE, is_done=is_done)
    await site.beat(*(("u-1/a", NOON + 1_000 + number) for number in range(6)))
    for _ in range(2):
        await site.fold(NOON + 3 * MINUTE)
        assert await site.total() == Counts(heartbeats=17, started=1)


async def test_what_an_older_copy_holds_and_sql_does_not_is_written(site: Site) -> None:
    await site.go_back(held=3, recorded=0)
    await site.beat(("u-1/a", NOON + 1_000))
    await site.fold(NOON + MINUTE)
    assert site.recorded() == Counts(heartbeats=4, started=1)


async def test_an_older_copy_of_an_older_copy_adds_up(site: Site) -> None:
    await site.go_back(held=1, recorded=11)
    assert await site.fold_until("due", NOON + MINUTE, is_done=True)
    await site.beat(("u-1/a", NOON + 2 * MINUTE))
    copy = await site.copy()
    await site.beat(("u-1/a", NOON + 2 * MINUTE + 1))
    await site.fold(NOON + 3 * MINUTE)
    await site.put_back(copy, epoch=3)
    await site.fold(NOON + 3 * MINUTE)
    await site.beat(("u-1/a", NOON + 4 * MINUTE))
    for _ in range(2):
        await site.fold(NOON + 5 * MINUTE)
        assert await site.total() == Counts(heartbeats=14, started=1)


async def test_what_is_sealed_while_another_fold_is_at_it_is_settled_by_whoever_writes_it(site: Site) -> None:
    partition = keys.partition_of("f-1")
    await site.beat(("u-1/a", NOON))
    overtaken = await site.counters.due(partition, NOON + MINUTE, 10)
    assert await site.counters.seal(partition) == 1
    await site.beat(("u-1/a", NOON + 1))
    await site.counters.settle(partition, overtaken.hours, NOON + MINUTE)
    assert await site.fold(NOON + MINUTE) == 2
    assert site.recorded() == Counts(heartbeats=2, started=1)
    assert await site.counters.seal(partition) == 1  # what is written, too


async def test_beats_that_wait_in_an_older_copy_at_the_beginning_of_an_hour_count_once(site: Site) -> None:
    await site.client.set(keys.EPOCH, 1)
    await site.beat(("u-1/a", NOON - 1))
    await site.fold(NOON)
    await site.beat(("u-1/a", NOON + 1), ("u-1/a", NOON + 2))
    copy = await site.copy()
    await site.fold(NOON + MINUTE)
    await site.put_back(copy, epoch=2)
    await site.fold(NOON + MINUTE)
    assert await site.total() == Counts(heartbeats=3, started=1)


async def test_hours_of_an_older_copy_are_written_at_once_however_many(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "PER_RUN", 1)
    monkeypatch.setattr(fold, "BATCH", 2)
    facilities = [f"f-{number}" for number in range(100)]
    for facility in facilities:
        await site.beat(("u-1/a", NOON), facility=facility)
    await site.client.set(keys.EPOCH, 1)
    assert await site.fold(NOON) == 100
    for facility in facilities:
        await site.beat(("u-1/a", NOON + MINUTE), facility=facility)
    assert 1 <= await site.fold(NOON + 2 * MINUTE) <= 2 * len(keys.ALL_PARTITIONS)


async def test_an_older_copy_leaves_nothing_of_a_day_in_redis(site: Site) -> None:
    await site.client.set(keys.EPOCH, 1)
    await site.beat(("u-1/a", NOON))
    await site.fold(NOON + HOUR + KEEP)  # the day waits for its end now
    await site.beat(("u-1/a", NOON + 2 * HOUR))
    await site.client.set(keys.EPOCH, 2)
    await site.fold(NOON + 2 * HOUR + MINUTE)
    await site.fold(MIDNIGHT + 3 * DAY)
    await site.fold(MIDNIGHT + 3 * DAY)
    assert await site.client.keys("users*") == []
    assert await site.client.keys("activity*") == []


async def test_days_that_are_over_keep_no_hour_from_sql(site: Site) -> None:
    partition = keys.partition_of("f-1")
    over = {f"day{NOON // DAY - 1}/over-{number}": NOON - 1 for number in range(450)}
    await site.client.zadd(partition.activity_due, over)
    await site.beat(("u-1/a", NOON))
    assert [await site.fold(NOON + MINUTE) for _ in range(2)] == [1, 0]
    assert await site.client.zcard(partition.activity_due) == 1


async def test_after_a_loss_of_redis_data_the_rest_of_the_hour_adds_up(site: Site) -> None:
    await site.beat(("u-1/a", NOON), ("u-2/b", NOON + 1))
    await site.fold(NOON + MINUTE)
    await site.client.flushall()
    await site.beat(("u-1/a", NOON + 2 * MINUTE))
    await site.fold(NOON + 3 * MINUTE)
    assert await site.total() == Counts(heartbeats=3, started=3)
