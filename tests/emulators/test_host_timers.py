"""Timers: NCRONTAB, past due, one host at a time."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulators.host.errors import StartupError
from emulators.host.host_config import SingletonOptions, parse_time_span
from emulators.host.leases import Singleton
from emulators.host.ncrontab import Crontab
from emulators.host.retry import retry_delay
from emulators.host.schedule import parse_schedule
from emulators.host.storage import SharedStorage
from emulators.host.timers import ScheduleStatus, check_past_due
from emulators.host.worker import RetryOptions
from tests.emulators.host_process import Process, Seen, environment, eventually, running_host

NOW = datetime(2026, 11, 21, 10, 30, 15, tzinfo=UTC)
QUICK = ("--singleton-lease-seconds", "2", "--singleton-recovery-seconds", "0.5")


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "seen.jsonl")


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * * *", "2026-11-21T10:30:15", "2026-11-21T10:30:16"),
        ("*/1 * * * * *", "2026-11-21T10:30:15.7", "2026-11-21T10:30:16"),
        ("*/5 * * * * *", "2026-11-21T10:30:15", "2026-11-21T10:30:20"),
        ("0 * * * * *", "2026-11-21T10:59:59", "2026-11-21T11:00:00"),
        ("0 */5 * * * *", "2026-11-21T10:30:15", "2026-11-21T10:35:00"),
        ("0 7/20 * * * *", "2026-11-21T10:30:15", "2026-11-21T10:47:00"),
        ("0 0 9-17 * * *", "2026-11-21T17:00:00", "2026-11-22T09:00:00"),
        ("0 30 9 * * MON-FRI", "2026-11-21T10:30:15", "2026-11-23T09:30:00"),
        ("0 0 0 1 Jan *", "2026-11-21T10:30:15", "2027-01-01T00:00:00"),
        ("0 0 0 1 january *", "2026-11-21T10:30:15", "2027-01-01T00:00:00"),
        ("0 0 0 29 2 *", "2026-11-21T10:30:15", "2028-02-29T00:00:00"),
        ("0 0 0 13 * 5", "2026-11-21T10:30:15", "2027-08-13T00:00:00"),
        ("0 0 0 * * 0", "2026-11-21T10:30:15", "2026-11-22T00:00:00"),
        ("15,45 10-12 8 * * *", "2026-11-21T08:10:15", "2026-11-21T08:10:45"),
        ("15,45 10-12 8 * * *", "2026-11-21T08:12:45", "2026-11-22T08:10:15"),
        ("59 59 23 31 12 *", "2026-12-31T23:59:59", "2027-12-31T23:59:59"),
        ("*/5 * * * *", "2026-11-21T10:30:15", "2026-11-21T10:35:00"),
    ],
)
def test_the_next_occurrence_of_an_ncrontab_expression(expression: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert Crontab(expression).next_after(moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        *("* * * *", "60 * * * * *", "* 60 * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *", "* * * * * 7"),
        *("*/0 * * * * *", "5-1 * * * * *", "a * * * * *", "* * * * Foo *", ", * * * * *", "* * * * * * *"),
    ],
)
def test_a_bad_ncrontab_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"fields|between|step|backwards"):
        Crontab(expression)


def test_a_day_that_never_comes_is_told() -> None:
    with pytest.raises(ValueError, match="never"):
        Crontab("0 0 0 31 2 *").next_after(NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01", 1),
        ("01:02:03", 3723),
        ("1.00:00:00", 86400),
        ("00:00:00.5", 0.5),
        ("12:30", 45000),
        ("24:00:00", 24 * 86400),
    ],
)
def test_time_spans_are_those_of_dotnet(text: str, seconds: float) -> None:
    assert parse_time_span(text, "here") == seconds


@pytest.mark.parametrize("text", ["soon", "00:61:00", "00:00:00", "* * * *"])
def test_a_bad_schedule_stops_the_host(text: str) -> None:
    with pytest.raises(StartupError, match="here"):
        parse_schedule(text, "here")


@pytest.mark.parametrize(
    ("text", "frequent"),
    [("0 * * * * *", False), ("*/30 * * * * *", True), ("00:00:59", True), ("00:01:00", False)],
)
def test_only_schedules_of_a_minute_and_more_are_monitored(text: str, frequent: bool) -> None:
    assert parse_schedule(text, "here").is_frequent(NOW) is frequent


@pytest.mark.parametrize(
    ("last_updated_ago", "next_ago", "past_due", "changed"),
    [
        (timedelta(minutes=3), timedelta(minutes=2, seconds=15), True, False),
        (timedelta(seconds=5), timedelta(seconds=-45), False, False),
        (timedelta(minutes=3), timedelta(minutes=1), False, True),
    ],
    ids=["missed", "not yet", "the schedule was changed"],
)
def test_a_missed_occurrence_is_past_due(
    last_updated_ago: timedelta, next_ago: timedelta, past_due: bool, changed: bool
) -> None:
    schedule = parse_schedule("0 * * * * *", "here")
    stored = ScheduleStatus(NOW - last_updated_ago, NOW - next_ago, NOW - last_updated_ago)
    status, is_past_due, must_store = check_past_due(schedule, stored, NOW)
    assert (is_past_due, must_store) == (past_due, changed)
    if changed:
        assert status.next > NOW


def test_a_new_timer_is_not_past_due_and_is_remembered() -> None:
    status, past_due, changed = check_past_due(parse_schedule("0 * * * * *", "here"), None, NOW)
    assert (past_due, changed, status.next) == (False, True, NOW + timedelta(seconds=45))


def test_exponential_back_off_starts_at_the_minimum_and_ends_at_the_maximum() -> None:
    options = RetryOptions(-1, "exponential_backoff", None, timedelta(seconds=1), timedelta(seconds=10))
    assert [retry_delay(options, attempt, lambda: 0.5) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]


async def test_a_timer_fires_and_never_beside_itself(seen: Seen) -> None:
    async with running_host(environment=environment(seen, "tick")):
        await eventually(lambda: len(seen.lines("tick-ended")) >= 3)
    lines = sorted(seen.lines("tick") + seen.lines("tick-ended"), key=lambda line: float(line["at"]))
    assert [line["kind"] for line in lines[:6]] == ["tick", "tick-ended"] * 3
    # Each begins in its own second, at its beginning.
    seconds = [int(line["at"] + 0.05) for line in seen.lines("tick")]
    assert len(set(seconds)) == len(seconds)


async def test_run_on_startup_and_a_run_that_was_missed(seen: Seen, tmp_path: Path) -> None:
    """A status whose next occurrence is in the past makes the first run past due."""
    path = str(tmp_path / "storage.sqlite")
    settings = environment(seen, "yearly")
    async with running_host("--storage", path, environment=settings):
        await eventually(lambda: len(seen.lines("yearly")) == 1)
    assert [line["past_due"] for line in seen.lines("yearly")] == [False]
    last = datetime(2020, 6, 1, tzinfo=UTC)
    status = ScheduleStatus(last, datetime(2021, 1, 1, tzinfo=UTC), last)
    storage = SharedStorage(path)
    assert json.loads(await storage.read_document("timers/yearly") or "")["Next"].endswith("-01-01T00:00:00+00:00")
    await storage.write_document("timers/yearly", json.dumps(status.to_json()))
    storage.close()
    async with running_host("--storage", path, environment=settings):
        await eventually(lambda: len(seen.lines("yearly")) == 2)
    assert seen.lines("yearly")[1]["past_due"] is True
    assert seen.lines("yearly")[1]["status"]["Next"] == "2021-01-01T00:00:00+00:00"


@pytest.mark.parametrize("ending", ["killed", "stopped"])
async def test_a_timer_runs_on_one_host_and_moves_when_that_goes(seen: Seen, tmp_path: Path, ending: str) -> None:
    settings = environment(seen, "tick")

    def host(name: str) -> AbstractAsyncContextManager[Process]:
        storage = str(tmp_path / "storage.sqlite")
        return running_host("--storage", storage, *QUICK, "--instance-id", name, environment=settings)

    async with host("one") as one, host("two"):
        await eventually(lambda: len(seen.lines("tick")) >= 3)
        assert not seen.lines("tick", "two")
        if ending == "killed":
            await one.kill()
        else:
            assert await one.stop() == 0
        await eventually(lambda: len(seen.lines("tick", "two")) >= 2)
        assert max(line["at"] for line in seen.lines("tick", "one")) < seen.lines("tick", "two")[0]["at"]


async def test_a_lease_is_kept_by_renewal_and_lost_by_silence(tmp_path: Path) -> None:
    now = [1000.0]
    path = str(tmp_path / "storage.sqlite")
    storage = SharedStorage(path, clock=lambda: now[0])
    assert await storage.take_lease("timer", "one", 15)
    now[0] += 14
    assert not await storage.take_lease("timer", "two", 15)
    assert await storage.take_lease("timer", "one", 15)
    now[0] += 14
    assert not await storage.take_lease("timer", "two", 15)
    now[0] += 1
    assert await storage.take_lease("timer", "two", 15)
    assert not await storage.take_lease("timer", "one", 15)
    await storage.release_lease("timer", "one")
    assert not await storage.take_lease("timer", "one", 15)
    await storage.release_lease("timer", "two")
    assert await storage.take_lease("timer", "one", 15)
    storage.close()


async def test_a_singleton_that_loses_its_lease_stops_what_it_runs() -> None:
    now, running = [1000.0], asyncio.Event()
    stopped = asyncio.Event()
    storage = SharedStorage(":memory:", clock=lambda: now[0])

    async def start() -> None:
        running.set()

    async def stop() -> None:
        stopped.set()

    singleton = Singleton(storage, "timer", "one", SingletonOptions(0.1, 0.05), start, stop)
    await singleton.start()
    assert running.is_set()
    now[0] += 10
    assert await storage.take_lease("timer", "two", 60)
    await asyncio.wait_for(stopped.wait(), 10)
    await singleton.stop()
    storage.close()
