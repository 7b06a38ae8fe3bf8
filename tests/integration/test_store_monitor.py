"""The private database's rules, the same in both dialects."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.domain.alert import AlertState, AnnouncedAlert
from shared.domain.facility import FacilityChange, FacilityState, FacilityStatus
from shared.domain.session import EndedSession, EndReason
from shared.errors import StoreError
from shared.store.monitor import SqlMonitorStore
from shared.store.opening import open_monitor_store
from shared.store.ports import EndedId, MonitorStore, StaleMark
from tests.integration.store_databases import DIALECTS, Databases, databases, execute

T0 = 1_795_000_000_123
MINUTE = 60_000
FOREVER = T0 + 10**12


@pytest.fixture(scope="module", params=DIALECTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder: Path = tmp_path_factory.mktemp("stores")
    with databases(request.param, folder) as made:
        yield made


@pytest.fixture
def address(made: Databases) -> str:
    return made.empty()


@pytest.fixture
def store(address: str) -> Iterator[SqlMonitorStore]:
    store = open_monitor_store(address)
    store.migrate()
    yield store
    store.close()


def online(facility: str, version: int, at: int = T0) -> FacilityChange:
    return FacilityChange(facility, FacilityStatus.ONLINE, at, version, 1, "heartbeat")


def offline(facility: str, version: int, at: int = T0, reason: str = "expired") -> FacilityChange:
    return FacilityChange(facility, FacilityStatus.OFFLINE, at, version, 0, reason)


def history(address: str, facility: str) -> list[tuple[int, str, str]]:
    return [
        (version, status, reason)
        for version, status, reason in execute(
            address,
            "SELECT version, status, reason FROM facility_status_history WHERE facility_id = ? ORDER BY version",
            facility,
        )
    ]


def count(address: str, table: str) -> int:
    return int(execute(address, f"SELECT count(*) FROM {table}")[0][0])


def test_the_store_keeps_the_port(store: SqlMonitorStore) -> None:
    port: MonitorStore = store
    port.ping()


def test_migrating_creates_the_tables_of_the_contract_once(address: str) -> None:
    store = open_monitor_store(address)
    names = ["0001_initial", "0002_activity_view", "0003_alerts", "0004_session_log_index"]
    assert store.migrate() == names
    assert store.migrate() == []
    for table in (
        *("facility_status", "facility_status_history", "session_log", "facility_activity"),
        *("stale_periods", "ended_sessions", "facility_alerts"),
    ):
        assert count(address, table) == 0
    applied = execute(address, "SELECT name, applied_at FROM schema_migrations ORDER BY name")
    assert [name for name, _ in applied] == names
    assert all(str(applied_at).startswith("20") for _, applied_at in applied)
    store.close()


def test_a_database_with_a_newer_migration_is_refused_by_its_name(store: SqlMonitorStore, address: str) -> None:
    execute(address, "INSERT INTO schema_migrations (name, applied_at) VALUES ('0999_future', '2030-01-01T00:00:00')")
    with pytest.raises(StoreError, match=r"0999_future.*newer"):
        store.migrate()


def test_changes_reach_the_history_and_the_state(store: SqlMonitorStore, address: str) -> None:
    changes = [online("f-1", 1, T0), offline("f-1", 2, T0 + 5), online("f-2", 1, T0 + 7), online("f-1", 3, T0 + 9)]
    assert store.record_changes(changes) == 4
    assert history(address, "f-1") == [
        (1, "online", "heartbeat"),
        (2, "offline", "expired"),
        (3, "online", "heartbeat"),
    ]
    assert sorted(store.facility_states(), key=lambda state: state.facility_id) == [
        FacilityState("f-1", FacilityStatus.ONLINE, T0 + 9, 3, reason="heartbeat"),
        FacilityState("f-2", FacilityStatus.ONLINE, T0 + 7, 1, reason="heartbeat"),
    ]


def test_a_replay_of_changes_is_no_news(store: SqlMonitorStore, address: str) -> None:
    changes = [online("f-1", 1), offline("f-1", 2, T0 + 5)]
    assert store.record_changes([*changes, *changes]) == 2
    assert store.record_changes(changes) == 0
    assert store.record_changes(changes[:1]) == 0
    [state] = store.facility_states()
    assert (state.version, state.status) == (2, FacilityStatus.OFFLINE)
    assert count(address, "facility_status_history") == 2


def test_a_version_once_recorded_stays_as_it_is(store: SqlMonitorStore, address: str) -> None:
    store.record_changes([online("f-1", 1, T0)])
    assert store.record_changes([offline("f-1", 1, T0 + 99), offline("f-1", 2, T0 + 100)]) == 1
    assert history(address, "f-1")[0] == (1, "online", "heartbeat")


def test_any_order_and_repetition_gives_the_same_rows(store: SqlMonitorStore, address: str) -> None:
    shuffled = random.Random(7)
    for number in range(8):
        facility = f"f-{number}"
        changes = [
            (online if version % 2 else offline)(facility, version, T0 + version * 10) for version in range(1, 10)
        ]
        sent = changes + shuffled.choices(changes, k=6)
        shuffled.shuffle(sent)
        cut = shuffled.randrange(1, len(sent))
        assert store.record_changes(sent[:cut]) + store.record_changes(sent[cut:]) == 9
        assert [version for version, _, _ in history(address, facility)] == list(range(1, 10))
    assert {(state.version, state.since) for state in store.facility_states()} == {(9, T0 + 90)}


def test_a_removal_is_in_the_history_and_no_state(store: SqlMonitorStore, address: str) -> None:
    removal = FacilityChange("f-1", FacilityStatus.REMOVED, T0 + 5, 2, 0, "removed")
    assert store.record_changes([removal]) == 1
    assert store.facility_states() == []
    assert store.record_changes([online("f-1", 1, T0), removal, online("f-1", 3, T0 + 9)]) == 2
    assert [state.version for state in store.facility_states()] == [3]
    assert history(address, "f-1") == [
        (1, "online", "heartbeat"),
        (2, "removed", "removed"),
        (3, "online", "heartbeat"),
    ]


def test_what_a_region_is_told_again_is_a_row_of_its_own_kind_and_raises_the_state(
    store: SqlMonitorStore, address: str
) -> None:
    again = replace(online("f-1", 3, T0), again=True)
    store.record_changes([online("f-1", 1, T0), FacilityChange("f-1", FacilityStatus.REMOVED, T0, 2, 0, "removed")])
    assert store.record_changes([again]) == 1
    assert store.record_changes([again]) == 0
    assert [(state.version, state.reason) for state in store.facility_states()] == [(3, "heartbeat")]
    assert history(address, "f-1") == [
        (1, "online", "heartbeat"),
        (2, "removed", "removed"),
        (3, "online", "joined"),
    ]


def test_ids_that_differ_in_case_are_different(store: SqlMonitorStore) -> None:
    assert store.record_changes([online("f-a", 1), online("F-A", 1)]) == 2
    assert {state.facility_id for state in store.facility_states()} == {"f-a", "F-A"}


def test_milliseconds_survive(store: SqlMonitorStore) -> None:
    instants = [T0 // 1000 * 1000 + milliseconds for milliseconds in (0, 1, 7, 10, 499, 500, 997, 999)]
    store.record_changes([online(f"f-{instant}", 1, instant) for instant in instants])
    assert sorted(state.since or 0 for state in store.facility_states()) == instants


def test_fifty_thousand_changes_go_in_at_once(store: SqlMonitorStore, address: str) -> None:
    changes = [online(f"f-{number % 25_000}", 1 + number // 25_000, T0 + number) for number in range(50_000)]
    assert store.record_changes(changes) == 50_000
    states = store.facility_states()
    assert len(states) == 25_000
    assert {state.version for state in states} == {2}
    assert count(address, "facility_status_history") == 50_000


def test_a_batch_that_fails_in_its_last_part_leaves_nothing(store: SqlMonitorStore, address: str) -> None:
    changes = [online(f"f-{number}", 1) for number in range(12_000)]
    refused = FacilityChange("f-x", FacilityStatus.ONLINE, T0, 1, 1, None)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.record_changes([*changes, refused])
    assert count(address, "facility_status_history") == 0
    assert store.record_changes(changes) == 12_000


def test_sessions_are_logged_once_for_each_facility(store: SqlMonitorStore, address: str) -> None:
    ended = [
        EndedSession("u-1", "s-1", "f-1", T0, T0 + MINUTE, EndReason.LEFT),
        EndedSession("u-1", "s-1", "f-2", T0, T0 + MINUTE, EndReason.LEFT),
        EndedSession("u-1", "s-1", "f-1", T0 + 5 * MINUTE, T0 + 6 * MINUTE, EndReason.EXPIRED),
        EndedSession("a@b.example|x:y+z=", "s-2", "", T0, T0 + 1, EndReason.ENDED),
    ]
    assert store.log_sessions([*ended, ended[0]]) == 4
    assert store.log_sessions(ended) == 0
    assert sorted(execute(address, "SELECT user_id, session_id, facility_id, reason FROM session_log")) == [
        ("a@b.example|x:y+z=", "s-2", "", "ended"),
        ("u-1", "s-1", "f-1", "expired"),
        ("u-1", "s-1", "f-1", "left"),
        ("u-1", "s-1", "f-2", "left"),
    ]


def test_changes_marks_and_alerts_are_kept_together_or_not_at_all(store: SqlMonitorStore, address: str) -> None:
    refused = AnnouncedAlert(None, AlertState.OFFLINE, T0, T0)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.record_changes([online("f-1", 1)], [StaleMark(stale=True, at=T0)], [refused])
    assert [count(address, table) for table in ("facility_status_history", "stale_periods")] == [0, 0]


def test_nothing_to_write_is_no_work(store: SqlMonitorStore) -> None:
    assert store.record_changes([]) == 0
    assert store.log_sessions([]) == 0
    store.remember_ended_ids([])


def test_ended_ids_are_held_until_their_time_and_only_prolonged(store: SqlMonitorStore) -> None:
    store.remember_ended_ids(
        [EndedId("u-1", "s-1", T0 + 50), EndedId("u-1", "s-1", T0 + 10), EndedId("u-2", "s-1", T0)]
    )
    store.remember_ended_ids([EndedId("u-1", "s-1", T0 + 20)])
    assert store.ended_ids(T0) == [EndedId("u-1", "s-1", T0 + 50)]
    store.remember_ended_ids([EndedId("u-1", "s-1", T0 + 70)])
    assert store.ended_ids(T0 + 50) == [EndedId("u-1", "s-1", T0 + 70)]
    assert store.ended_ids(T0 + 70) == []


def test_the_newest_alert_of_each_facility_and_state_is_kept(store: SqlMonitorStore, address: str) -> None:
    first, second = (AnnouncedAlert("f-1", AlertState.OFFLINE, T0 + at, T0 + at + 5) for at in (0, 100))
    back = AnnouncedAlert("f-1", AlertState.RECOVERED, T0 + 50, T0 + 51)
    other = AnnouncedAlert("F-1", AlertState.OFFLINE, T0, T0 + 1)
    store.record_changes([], alerts=[second, first, back])
    store.record_changes([], alerts=[first, other])
    assert sorted(store.announced_alerts(), key=lambda each: each.at) == [other, back, second]
    assert count(address, "facility_alerts") == 3


def test_pruning_keeps_every_facilitys_newest_transition(store: SqlMonitorStore, address: str) -> None:
    store.record_changes([online("f-1", 1, T0), offline("f-1", 2, T0 + 1), online("f-1", 3, T0 + 2)])
    store.record_changes([online("f-2", 7, T0)])
    assert store.prune(history_before=FOREVER, activity_before=T0, sessions_before=T0, now=T0, limit=1_000) == 2
    assert history(address, "f-1") == [(3, "online", "heartbeat")]
    assert history(address, "f-2") == [(7, "online", "heartbeat")]


def test_pruning_keeps_the_transition_in_force_at_its_instant(store: SqlMonitorStore, address: str) -> None:
    store.record_changes([online("f-1", 1, T0), offline("f-1", 2, T0 + 10), online("f-1", 3, T0 + 20)])
    for before, left in ((T0 + 5, [1, 2, 3]), (T0 + 15, [2, 3]), (T0 + 20, [3])):
        store.prune(history_before=before, activity_before=0, sessions_before=0, now=0, limit=9)
        assert [version for version, _, _ in history(address, "f-1")] == left


def test_pruning_spares_what_is_not_older_than_asked(store: SqlMonitorStore, address: str) -> None:
    store.record_changes([online("f-1", version, T0 + version) for version in range(1, 10)])
    ended = [EndedSession("u-1", f"s-{n}", "f-1", T0, T0 + n, EndReason.EXPIRED) for n in range(10)]
    store.log_sessions(ended)
    store.remember_ended_ids([EndedId("u-1", f"s-{n}", T0 + n) for n in range(10)])
    assert (
        store.prune(history_before=T0 + 3, activity_before=T0, sessions_before=T0 + 4, now=T0 + 5, limit=1_000)
        == 2 + 4 + 6
    )
    assert [version for version, _, _ in history(address, "f-1")] == list(range(3, 10))
    assert count(address, "session_log") == 6
    assert count(address, "ended_sessions") == 4


def test_pruning_takes_at_most_its_limit_from_each_table_oldest_first(store: SqlMonitorStore, address: str) -> None:
    store.record_changes([online("f-1", version, T0 + version) for version in range(1, 10)])
    ended = [EndedSession("u-1", f"s-{n}", "f-1", T0, T0 + n, EndReason.EXPIRED) for n in range(10)]
    store.log_sessions(ended)
    assert store.prune(history_before=FOREVER, activity_before=FOREVER, sessions_before=FOREVER, now=T0, limit=3) == 6
    assert [version for version, _, _ in history(address, "f-1")] == list(range(4, 10))
    assert {row[0] for row in execute(address, "SELECT session_id FROM session_log")} == {
        f"s-{n}" for n in range(3, 10)
    }


def test_threads_share_a_store(store: SqlMonitorStore, address: str) -> None:
    def write(number: int) -> int:
        return store.record_changes([online(f"f-{number}", version, T0 + version) for version in range(1, 6)])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(24))) == 24 * 5
    assert len(store.facility_states()) == 24


def test_two_stores_write_the_same_changes_at_once(store: SqlMonitorStore, address: str) -> None:
    other = open_monitor_store(address)
    batches = [[online(f"f-{number}", batch + 1, T0 + batch) for number in range(40)] for batch in range(10)]
    with ThreadPoolExecutor(2) as pool:
        counts = pool.map(lambda one: sum(one.record_changes(batch) for batch in batches), [store, other])
        assert sum(counts) == 400
    other.close()
    assert {state.version for state in store.facility_states()} == {10}


def test_a_closed_store_opens_again(store: SqlMonitorStore) -> None:
    store.record_changes([online("f-1", 1)])
    store.close()
    assert len(store.facility_states()) == 1
