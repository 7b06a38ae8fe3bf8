"""What the API reads of the private database, and who may read it, the same in both dialects."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.activity import DAY, HOUR, ActivityHour, Counts
from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.instants import from_iso
from shared.domain.uptime import Span
from shared.store.history import SqlHistoryStore
from shared.store.monitor import SqlMonitorStore
from shared.store.opening import open_core_store, open_history_store, open_monitor_store
from shared.store.ports import HistoryStore, Place, RegionPlaces, StaleMark, Transition
from tests.integration.store_databases import DIALECTS, Databases, databases, execute

T0 = 1_795_000_000_123
HIGHEST = 2**62
NOON = T0 // DAY * DAY + 12 * HOUR


@pytest.fixture(scope="module", params=DIALECTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder: Path = tmp_path_factory.mktemp("stores")
    with databases(request.param, folder) as made:
        yield made


@pytest.fixture
def address(made: Databases) -> str:
    return made.empty()


@pytest.fixture
def writer(address: str) -> Iterator[SqlMonitorStore]:
    store = open_monitor_store(address)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def reader(address: str) -> Iterator[SqlHistoryStore]:
    store = open_history_store(address, lambda: T0)
    yield store
    store.close()


def changes(facility: str, *instants: int, first: int = 1) -> list[FacilityChange]:
    """Returns a facility that turns online, offline, online… at the given instants."""
    return [
        FacilityChange(facility, FacilityStatus.OFFLINE, at, version, 0, "expired")
        if (version - first) % 2
        else FacilityChange(facility, FacilityStatus.ONLINE, at, version, 1, "heartbeat")
        for version, at in enumerate(instants, first)
    ]


def versions(found: list[Transition]) -> list[int]:
    return [each.version for each in found]


def test_a_reader_may_come_before_the_first_writer(reader: SqlHistoryStore) -> None:
    port: HistoryStore = reader
    assert port.transitions("f-1", Span(0, T0), before=HIGHEST, limit=10) == []
    assert port.known_since("f-1") is None
    assert port.online_time("f-1", [Span(0, T0)]) == {}
    assert port.stale_periods(Span(0, T0)) == []


def test_history_is_newest_first_within_the_range_and_of_one_facility(
    writer: SqlMonitorStore, reader: SqlHistoryStore
) -> None:
    writer.record_changes(changes("f-1", T0, T0 + 10, T0 + 20, T0 + 30) + changes("F-1", T0 + 5))
    found = reader.transitions("f-1", Span(T0, T0 + 30), before=HIGHEST, limit=10)
    assert found[0] == Transition(4, FacilityStatus.OFFLINE, T0 + 30, "expired")
    assert versions(found) == [4, 3, 2, 1]
    assert versions(reader.transitions("f-1", Span(T0 + 1, T0 + 29), before=HIGHEST, limit=10)) == [3, 2]
    assert versions(reader.transitions("f-1", Span(T0, T0 + 30), before=HIGHEST, limit=3)) == [4, 3, 2]
    assert reader.transitions("f-1", Span(T0 + 31, T0 + 99), before=HIGHEST, limit=3) == []


def test_a_departure_from_a_region_is_no_transition(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    gone = FacilityChange("f-1", FacilityStatus.REMOVED, T0 + 40, 2, 0, "removed")
    writer.record_changes([*changes("f-1", T0), gone, *changes("f-1", T0 + 10, first=3)])
    assert versions(reader.transitions("f-1", Span(T0, T0 + 99), before=HIGHEST, limit=9)) == [3, 1]
    assert reader.online_time("f-1", [Span(T0 + 5, T0 + 25), Span(T0 + 45, T0 + 50)]) == {T0 + 5: 20, T0 + 45: 5}
    moved = [
        *changes("f-3", T0),
        FacilityChange("f-3", FacilityStatus.REMOVED, T0, 2, 0, "removed"),
        replace(changes("f-3", T0, first=3)[0], again=True),
        FacilityChange("f-3", FacilityStatus.OFFLINE, T0 + 50, 4, 0, "left"),
    ]
    writer.record_changes(moved)
    assert versions(reader.transitions("f-3", Span(T0, T0 + 99), before=HIGHEST, limit=9)) == [4, 1]
    assert reader.online_time("f-3", [Span(T0, T0 + 99)]) == {T0: 50}
    never = FacilityChange("f-2", FacilityStatus.REMOVED, T0, 1, 0, "removed")
    writer.record_changes([never, *changes("f-2", T0 + 5, first=2)])
    assert reader.known_since("f-2") is None


def test_pages_meet_also_where_transitions_share_an_instant(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    writer.record_changes(changes("f-1", T0, T0 + 5, T0 + 5, T0 + 5, T0 + 5, T0 + 9))
    seen, until, before = [], T0 + 9, HIGHEST
    while page := reader.transitions("f-1", Span(T0, until), before=before, limit=2):
        seen += versions(page)
        until, before = page[-1].at, page[-1].version
    assert seen == [6, 5, 4, 3, 2, 1]


def test_only_a_first_version_tells_what_was_before_it(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    writer.record_changes(changes("f-1", T0, T0 + 5) + changes("f-2", T0 + 7, T0 + 8, first=40))
    assert reader.known_since("f-1") is None
    assert reader.known_since("f-2") == T0 + 7


def test_the_state_before_a_span_counts_in_it(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    writer.record_changes(changes("f-1", T0, T0 + 100_000, T0 + 150_001))
    minutes = [Span(T0 + 40_000, T0 + 80_000), Span(T0 + 80_000, T0 + 120_000), Span(T0 + 120_000, T0 + 160_000)]
    assert reader.online_time("f-1", minutes) == {T0 + 40_000: 40_000, T0 + 80_000: 20_000, T0 + 120_000: 9_999}
    assert reader.online_time("f-1", [Span(T0 - 500, T0)]) == {}
    assert reader.online_time("f-1", [Span(T0 + 100_000, T0 + 150_001)]) == {}
    assert reader.online_time("f-1", [Span(T0 + 999_999, T0 + 999_999 + 86_400_000)]) == {T0 + 999_999: 86_400_000}
    assert reader.online_time("f-1", []) == {}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(0, 90), max_size=8),
    cuts=st.lists(st.integers(-20, 400), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_time_online_is_every_millisecond_in_which_the_facility_was_online(
    writer: SqlMonitorStore, reader: SqlHistoryStore, address: str, gaps: list[int], cuts: list[int]
) -> None:
    execute(address, "DELETE FROM facility_status_history")
    instants = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    writer.record_changes(changes("f-1", *(T0 + at for at in instants)))
    spans = [Span(T0 + start, T0 + end) for start, end in pairwise(cuts)]

    def online(at: int) -> bool:
        return sum(instant <= at - T0 for instant in instants) % 2 == 1

    expected = {span.start: sum(map(online, range(span.start, span.end))) for span in spans}
    assert reader.online_time("f-1", spans) == {start: time for start, time in expected.items() if time}


def test_stale_periods_are_kept_once_however_often_they_are_told(
    writer: SqlMonitorStore, reader: SqlHistoryStore
) -> None:
    marks = [
        *(StaleMark(stale=True, at=T0, cause="stalled"), StaleMark(stale=False, at=T0 + 50)),
        *(StaleMark(stale=True, at=T0 + 70, cause="mass-silence"), StaleMark(stale=False, at=T0 + 80)),
        StaleMark(stale=True, at=T0 + 90, cause="stalled"),
    ]
    writer.record_changes([], marks[:1])
    assert reader.stale_periods(Span(T0 - 9, T0 + 60)) == [Span(T0, T0 + 60)]
    for _ in range(2):
        writer.record_changes([], marks)
        everything = [Span(T0, T0 + 50), Span(T0 + 70, T0 + 80), Span(T0 + 90, T0 + 200)]
        assert reader.stale_periods(Span(0, T0 + 200)) == everything
    assert reader.stale_periods(Span(T0 + 50, T0 + 70)) == []
    assert reader.stale_periods(Span(T0 + 49, T0 + 71)) == everything[:2]


def test_a_mark_that_ends_nothing_changes_nothing(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    writer.record_changes([], [StaleMark(stale=False, at=T0), StaleMark(stale=True, at=T0 + 5, cause="stalled")])
    writer.record_changes([], [StaleMark(stale=False, at=T0)])
    assert reader.stale_periods(Span(T0, T0 + 9)) == [Span(T0 + 5, T0 + 9)]


def test_marks_of_stale_periods_give_the_same_rows_in_any_order(
    writer: SqlMonitorStore, reader: SqlHistoryStore, address: str
) -> None:
    first = [StaleMark(stale=True, at=T0, cause="stalled"), StaleMark(stale=False, at=T0 + 50, cause="", began=T0)]
    # What Redis lost is announced anew, and then both beginnings end together.
    lost = [StaleMark(stale=True, at=T0 + 60, cause="silence"), StaleMark(stale=True, at=T0 + 70, cause="lost")]
    second = [*lost, StaleMark(stale=False, at=T0 + 90, cause="", began=T0 + 70)]
    # The watermark stopped before the moment at which the period before was taken back.
    last = StaleMark(stale=True, at=T0 + 89, cause="stalled")
    everything = [*first, *second, last]
    expected = [Span(T0, T0 + 50), Span(T0 + 60, T0 + 90), Span(T0 + 70, T0 + 90), Span(T0 + 89, T0 + 200)]
    for marks in list(permutations(everything))[::11]:
        execute(address, "DELETE FROM stale_periods")
        for mark in [*marks, marks[0]]:
            writer.record_changes([], [mark])
        assert reader.stale_periods(Span(0, T0 + 200)) == expected, marks
        causes = execute(address, "SELECT cause FROM stale_periods ORDER BY started_at")
        assert causes == [("stalled",), ("silence",), ("lost",), ("stalled",)]


def test_a_period_ends_though_the_clock_was_set_back_meanwhile(
    writer: SqlMonitorStore, reader: SqlHistoryStore
) -> None:
    writer.record_changes([], [StaleMark(stale=True, at=T0), StaleMark(stale=False, at=T0 - 9, began=T0)])
    assert reader.stale_periods(Span(T0 - 50, T0 + 50)) == [Span(T0, T0)]


def test_a_facility_is_found_with_whether_a_user_belongs_to_its_region(address: str) -> None:
    store = open_core_store(address)
    store.migrate()
    store.replace_directory(
        Directory(
            regions={"r-1": Region("r-1", "Nord"), "r-2": Region("r-2", "Süd")},
            counties={
                key: County(key, region, key) for key, region in (("c-1", "r-1"), ("c-2", "r-1"), ("c-3", "r-2"))
            },
            facilities={key: Facility(key, f"c{key[1:]}", key) for key in ("f-1", "f-2", "f-3")},
            users={"u-1": "One", "U-1": "Other", "u-0": "Nobody"},
            facilities_of_user={"u-1": ("f-1",), "U-1": ("f-3",)},
        )
    )
    assert store.find_facility("f-2", "u-1") == Place("r-1", member=True)
    assert store.find_facility("f-3", "u-1") == Place("r-2", member=False)
    assert store.find_facility("f-3", "U-1") == Place("r-2", member=True)
    assert store.find_facility("f-1", "u-0") == Place("r-1", member=False)
    assert store.find_facility("F-1", "u-1") is None
    store.close()


def test_a_region_is_found_with_its_facilities_and_whether_a_user_has_one(address: str) -> None:
    store = open_core_store(address)
    store.migrate()
    store.replace_directory(
        Directory(
            regions={key: Region(key, key) for key in ("r-1", "r-2", "r-3")},
            counties={
                key: County(key, region, key) for key, region in (("c-1", "r-1"), ("c-2", "r-1"), ("c-3", "r-2"))
            },
            facilities={key: Facility(key, f"c{key[1:]}", key) for key in ("f-1", "f-2", "f-3")},
            users={"u-1": "One", "U-1": "Other"},
            facilities_of_user={"u-1": ("f-1",), "U-1": ("f-3",)},
        )
    )
    first = store.find_region("r-1", "u-1")
    assert first is not None
    assert (sorted(first.facility_ids), first.member) == (["f-1", "f-2"], True)
    assert store.find_region("r-2", "u-1") == RegionPlaces(("f-3",), member=False)
    assert store.find_region("r-3", "u-1") == RegionPlaces((), member=False)
    assert store.find_region("R-1", "u-1") is None
    store.close()


def test_activity_comes_back_as_it_was_recorded(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    minutes = {0: Counts(heartbeats=3, started=1), 7: Counts(left=1), 59: Counts(1, 2, 3, 4, 5)}
    hours = [
        ActivityHour("f-1", NOON, 7, minutes, users=2, users_of_day=5),
        ActivityHour("f-1", NOON, 9, {1: Counts(1)}, users=1, users_of_day=1),
        ActivityHour("f-1", NOON + HOUR, 1_795_000_000_000_123, {0: Counts(1)}),
        ActivityHour("F-1", NOON, 7, {0: Counts(9)}),
    ]
    assert writer.record_activity([]) == 0
    assert writer.record_activity(hours) == 4
    found = reader.activity("f-1", Span(NOON, NOON + HOUR))
    assert sorted(found, key=lambda hour: hour.epoch) == hours[:2]
    assert reader.activity("f-1", Span(NOON + 1, NOON + 2 * HOUR)) == hours[2:3]
    assert reader.activity("f-1", Span(NOON - HOUR, NOON)) == []


def test_of_two_accounts_of_an_hour_the_later_stays_whatever_the_order(
    writer: SqlMonitorStore, reader: SqlHistoryStore
) -> None:
    accounts = [ActivityHour("f-1", NOON, 7, {0: Counts(heartbeats=beats)}, users=beats) for beats in range(1, 5)]
    assert writer.record_activity([accounts[2], accounts[0], accounts[1]]) == 1
    assert writer.record_activity(accounts[:3]) == 0
    assert writer.record_activity(accounts) == 1
    assert reader.activity("f-1", Span(NOON, NOON + 1)) == [accounts[3]]


def test_activity_of_several_facilities_adds_up_by_hour(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    writer.record_activity(
        [
            ActivityHour("f-1", NOON, 1, {0: Counts(3, 1), 59: Counts(1, 0, 0, 0, 2)}),
            ActivityHour("f-1", NOON, 2, {0: Counts(1)}),
            ActivityHour("f-2", NOON, 1, {7: Counts(10, 5, 1, 1)}),
            ActivityHour("f-2", NOON + HOUR, 1, {7: Counts(1)}),
            ActivityHour("F-1", NOON, 1, {7: Counts(1000)}),
            ActivityHour("f-1", NOON + 2 * HOUR, 1, {0: Counts(1000)}),
        ]
    )
    span = Span(NOON, NOON + 2 * HOUR)
    assert reader.activity_sums(["f-1", "f-2", "f-3"], span) == {NOON: Counts(15, 6, 1, 1, 2), NOON + HOUR: Counts(1)}
    assert reader.activity_sums([], span) == {}


def test_a_view_tells_activity_by_minute_hour_and_day(writer: SqlMonitorStore, address: str) -> None:
    writer.record_activity(
        [
            ActivityHour("f-1", NOON, 1, {0: Counts(3, 1), 59: Counts(1, 0, 0, 0, 2)}, users=4, users_of_day=6),
            ActivityHour("f-1", NOON, 2, {0: Counts(1)}, users=1, users_of_day=1),
            ActivityHour("f-1", NOON + 11 * HOUR, 1, {30: Counts(2, 0, 1, 1)}, users=2, users_of_day=7),
            ActivityHour("f-1", NOON + 12 * HOUR, 1, {0: Counts(5)}, users=1, users_of_day=1),
        ]
    )
    rows = execute(
        address,
        "SELECT granularity, start_at, heartbeats, sessions_started, sessions_expired, sessions_left, sessions_ended,"
        " unique_users FROM facility_activity WHERE facility_id = 'f-1'",
    )

    def instant(value: object) -> int:
        return from_iso(str(value)) - NOON

    assert sorted(((kind, instant(at), *rest) for kind, at, *rest in rows), key=lambda row: row[:2]) == [
        ("day", -12 * HOUR, 7, 1, 1, 1, 2, 7),
        ("day", 12 * HOUR, 5, 0, 0, 0, 0, 1),
        ("hour", 0, 5, 1, 0, 0, 2, 4),
        ("hour", 11 * HOUR, 2, 0, 1, 1, 0, 2),
        ("hour", 12 * HOUR, 5, 0, 0, 0, 0, 1),
        ("minute", 0, 4, 1, 0, 0, 0, None),
        ("minute", HOUR - 60_000, 1, 0, 0, 0, 2, None),
        ("minute", 11 * HOUR + 30 * 60_000, 2, 0, 1, 1, 0, None),
        ("minute", 12 * HOUR, 5, 0, 0, 0, 0, None),
    ]


def test_pruning_takes_the_oldest_activity_up_to_its_limit(writer: SqlMonitorStore, reader: SqlHistoryStore) -> None:
    hours = [ActivityHour("f-1", NOON + number * HOUR, 1, {0: Counts(1)}) for number in range(6)]
    writer.record_activity(hours)

    def prune(before: int, limit: int) -> int:
        return writer.prune(history_before=0, activity_before=before, sessions_before=0, now=0, limit=limit)

    assert prune(NOON + 4 * HOUR, 3) == 3
    assert prune(NOON + 4 * HOUR, 3) == 1
    assert prune(NOON + 4 * HOUR, 3) == 0
    left = reader.activity("f-1", Span(0, NOON + DAY))
    assert sorted(hour.start for hour in left) == [NOON + 4 * HOUR, NOON + 5 * HOUR]
