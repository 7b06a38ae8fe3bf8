"""The core database's rules, the same in both dialects."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.errors import StoreError
from shared.store.core import SqlCoreStore
from shared.store.opening import open_core_store, open_monitor_store
from shared.store.ports import CoreStore
from tests.integration.store_databases import DIALECTS, Databases, databases, execute, is_babelfish

T0 = 1_795_000_000_123

DIRECTORY = Directory(
    regions={"r-1": Region("r-1", "North"), "r-2": Region("r-2", "South")},
    counties={"c-1": County("c-1", "r-1", "Ash"), "c-2": County("c-2", "r-2", "Birch")},
    facilities={
        "f-1": Facility("f-1", "c-1", "Clinic"),
        "f-2": Facility("f-2", "c-1", "Pharmacy"),
        "f-3": Facility("f-3", "c-2", "Hospital"),
    },
    users={"u-1": "Ada", "u-2": "Bo", "u-3": "Cy", "u-4": "nobody's"},
    facilities_of_user={"u-1": ("f-1",), "u-2": ("f-2",), "u-3": ("f-1", "f-3")},
)

# A customer's own tables: no foreign keys, other types, nullable, columns of their own. Both dialects take this text.
CUSTOMERS = (
    "CREATE TABLE regions (region_id varchar(50) NOT NULL PRIMARY KEY, name nvarchar(100), extra int)",
    "CREATE TABLE counties (county_id varchar(50) NOT NULL PRIMARY KEY, region_id varchar(50), name nvarchar(100))",
    "CREATE TABLE facilities (facility_id varchar(50) NOT NULL PRIMARY KEY, county_id varchar(50), name nvarchar(100), "
    "connectivity_status varchar(20), connectivity_since datetime2(3), connectivity_version int)",
    "CREATE TABLE users (user_id varchar(50) NOT NULL PRIMARY KEY, name nvarchar(100))",
    "CREATE TABLE facility_users (user_id varchar(50) NOT NULL, facility_id varchar(50) NOT NULL, "
    "PRIMARY KEY (facility_id, user_id))",
)


@pytest.fixture(scope="module", params=DIALECTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder: Path = tmp_path_factory.mktemp("stores")
    with databases(request.param, folder) as made:
        yield made


@pytest.fixture
def address(made: Databases) -> str:
    return made.empty()


@pytest.fixture
def store(address: str) -> Iterator[SqlCoreStore]:
    store = open_core_store(address)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def filled(store: SqlCoreStore) -> SqlCoreStore:
    store.replace_directory(DIRECTORY)
    return store


def change(facility: str, version: int, status: FacilityStatus = FacilityStatus.ONLINE) -> FacilityChange:
    return FacilityChange(facility, status, T0 + version, version, 1, "heartbeat")


def connectivity(address: str) -> dict[str, tuple[str, str | None, int]]:
    rows = execute(
        address,
        "SELECT facility_id, connectivity_status, CAST(connectivity_since AS varchar(30)), connectivity_version "
        "FROM facilities",
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def without[V](mapping: Mapping[str, V], *keys: str) -> dict[str, V]:
    return {key: value for key, value in mapping.items() if key not in keys}


def test_the_store_keeps_the_port(store: SqlCoreStore) -> None:
    port: CoreStore = store
    port.ping()


def test_migrating_creates_what_is_absent_once(address: str) -> None:
    store = open_core_store(address)
    assert store.migrate() == ["0001_initial", "0002_counties_by_region", "0003_facilities_by_county"]
    assert store.migrate() == []
    assert store.read_directory() == Directory()
    store.close()


def test_a_customers_tables_are_used_as_they_are(address: str) -> None:
    for sql in CUSTOMERS:
        execute(address, sql)
    store = open_core_store(address)
    assert store.migrate() == []
    execute(address, "INSERT INTO facilities (facility_id, county_id, name) VALUES ('f-9', 'c-9', 'Old')")
    store.replace_directory(DIRECTORY)
    assert store.read_directory() == DIRECTORY
    execute(address, "UPDATE facilities SET connectivity_version = NULL, connectivity_status = NULL")
    assert store.update_connectivity([change("f-1", 4)]) == 1
    assert store.update_connectivity([change("f-1", 3)]) == 0
    assert connectivity(address)["f-1"][::2] == ("online", 4)
    store.close()


def test_every_missing_column_is_named(address: str) -> None:
    for sql in CUSTOMERS:
        execute(address, sql.replace("connectivity_since datetime2(3), ", "").replace("user_id", "uid"))
    store = open_core_store(address)
    with pytest.raises(StoreError, match=r"facilities\.connectivity_since, users\.user_id, facility_users\.user_id"):
        store.migrate()
    store.close()


def test_only_absent_tables_are_created(address: str) -> None:
    execute(address, "CREATE TABLE users (user_id varchar(128) NOT NULL PRIMARY KEY, name nvarchar(99), badge int)")
    store = open_core_store(address)
    assert store.migrate() == ["0001_initial", "0002_counties_by_region", "0003_facilities_by_county"]
    assert store.replace_directory(DIRECTORY) == 15
    assert store.read_directory() == DIRECTORY
    assert execute(address, "SELECT badge FROM users WHERE user_id = 'u-0'") == []
    store.close()


@pytest.mark.parametrize("table", ["counties", "facilities"])
def test_a_customers_table_gets_no_index_when_others_are_made(address: str, table: str) -> None:
    index = {"counties": "0002_counties_by_region", "facilities": "0003_facilities_by_county"}
    [theirs] = [sql for sql in CUSTOMERS if sql.startswith(f"CREATE TABLE {table} ")]
    execute(address, theirs)
    store = open_core_store(address)
    assert store.migrate() == ["0001_initial", *(name for made, name in index.items() if made != table)]
    assert store.migrate() == []
    store.close()


def test_both_roles_may_share_a_database(address: str) -> None:
    core, monitor = open_core_store(address), open_monitor_store(address)
    assert core.migrate()
    assert monitor.migrate() == ["0001_initial", "0002_activity_view", "0003_alerts", "0004_session_log_index"]
    assert core.migrate() == []
    assert monitor.migrate() == []
    core.replace_directory(DIRECTORY)
    assert core.read_directory() == DIRECTORY
    core.close()
    monitor.close()


def test_a_directory_comes_back_as_it_was_written(store: SqlCoreStore) -> None:
    assert store.replace_directory(DIRECTORY) == 2 + 2 + 3 + 4 + 4
    assert store.read_directory() == DIRECTORY
    assert store.replace_directory(DIRECTORY) == 0


def test_names_are_any_text(store: SqlCoreStore) -> None:
    names = ["O'Brien; DROP TABLE users --", "🏥" * 200, "a,b [c] {d}", "Žluťoučký 東京", " ", "%_[x]", "null", "?"]
    directory = Directory(users={f"u-{n}": name for n, name in enumerate(names)})
    store.replace_directory(directory)
    assert store.read_directory() == directory


def test_names_may_hold_what_json_escapes(store: SqlCoreStore, address: str) -> None:
    if is_babelfish(address):
        pytest.skip("Babelfish's OPENJSON keeps escape sequences; `make test-sqlserver` on SQL Server runs this")
    directory = Directory(users={f"u-{n}": name for n, name in enumerate(['"', "\\", "a\nb\tc", "\\u0041", "\x1f"])})
    store.replace_directory(directory)
    assert store.read_directory() == directory


@pytest.mark.parametrize("renamed", ["ada", "Ada ", "Adä"])
def test_the_smallest_change_of_a_name_is_written(filled: SqlCoreStore, renamed: str) -> None:
    before = filled.directory_fingerprint()
    directory = replace(DIRECTORY, users={**DIRECTORY.users, "u-1": renamed})
    assert filled.replace_directory(directory) == 1
    assert filled.read_directory().users["u-1"] == renamed
    assert filled.directory_fingerprint() != before


def test_ids_that_differ_in_case_are_different(store: SqlCoreStore) -> None:
    directory = Directory(users={"u-1": "small", "U-1": "large"})
    store.replace_directory(directory)
    assert store.read_directory() == directory


def test_replacing_moves_and_deletes(filled: SqlCoreStore) -> None:
    directory = Directory(
        regions=without(DIRECTORY.regions, "r-1"),
        counties={"c-1": County("c-1", "r-2", "Ash")},
        facilities={"f-1": Facility("f-1", "c-1", "Clinic"), "f-4": Facility("f-4", "c-1", "New")},
        users={"u-1": "Ada", "u-5": "Eve"},
        facilities_of_user={"u-1": ("f-1", "f-4"), "u-5": ("f-4",)},
    )
    filled.replace_directory(directory)
    assert filled.read_directory() == directory


def test_a_new_facility_has_never_been_online(filled: SqlCoreStore, address: str) -> None:
    assert set(connectivity(address).values()) == {("offline", None, 0)}


def test_replacing_keeps_connectivity(filled: SqlCoreStore, address: str) -> None:
    filled.update_connectivity([change("f-1", 3)])
    before = connectivity(address)["f-1"]
    moved = {**DIRECTORY.facilities, "f-1": Facility("f-1", "c-2", "Clinic, moved")}
    filled.replace_directory(replace(DIRECTORY, facilities=moved))
    assert connectivity(address)["f-1"] == before
    assert before[0] == "online"


@pytest.mark.parametrize("table", ["regions", "counties", "facilities", "users", "facility_users"])
def test_a_kept_table_loses_nothing_that_it_holds_or_refers_to(filled: SqlCoreStore, table: str) -> None:
    filled.replace_directory(Directory(), keep_missing=frozenset({table}))
    left = filled.read_directory()
    upward = ["facility_users", "users", "facilities", "counties", "regions"]
    kept = {
        "facility_users": upward,
        "users": ["users"],
        "facilities": ["facilities", "counties", "regions"],
        "counties": ["counties", "regions"],
        "regions": ["regions"],
    }[table]
    used = {"u-1", "u-2", "u-3"} if table == "facility_users" else set(DIRECTORY.users)
    assert left.users.keys() == (used if "users" in kept else set())
    assert left.regions == (DIRECTORY.regions if "regions" in kept else {})
    assert left.counties == (DIRECTORY.counties if "counties" in kept else {})
    assert left.facilities == (DIRECTORY.facilities if "facilities" in kept else {})
    assert left.facilities_of_user == (DIRECTORY.facilities_of_user if "facility_users" in kept else {})


def test_kept_tables_still_take_new_rows_and_values(filled: SqlCoreStore) -> None:
    few = Directory(users={"u-1": "Ada L."}, facilities_of_user={"u-4": ("f-2",)})
    tables = frozenset({"regions", "counties", "facilities", "users", "facility_users"})
    assert filled.replace_directory(few, keep_missing=tables) == 2
    left = filled.read_directory()
    assert left.users == {**DIRECTORY.users, "u-1": "Ada L."}
    assert left.facilities_of_user == {**DIRECTORY.facilities_of_user, "u-4": ("f-2",)}


def test_a_table_that_is_none_is_refused(filled: SqlCoreStore) -> None:
    with pytest.raises(ValueError, match="user_facilities"):
        filled.replace_directory(Directory(), keep_missing=frozenset({"user_facilities"}))
    assert filled.read_directory() == DIRECTORY


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (replace(DIRECTORY, counties={**DIRECTORY.counties, "c-3": County("c-3", "r-9", "x")}), "county c-3 .* r-9"),
        (replace(DIRECTORY, facilities={**DIRECTORY.facilities, "f-4": Facility("f-4", "c-9", "x")}), "f-4 .* c-9"),
        (replace(DIRECTORY, facilities_of_user={"u-1": ("f-1", "f-9")}), "user u-1 .* f-9"),
        (replace(DIRECTORY, facilities_of_user={"u-9": ("f-1",)}), "user u-9"),
    ],
)
def test_a_directory_that_refers_to_nothing_changes_nothing(
    filled: SqlCoreStore, broken: Directory, named: str
) -> None:
    with pytest.raises(StoreError, match=named):
        filled.replace_directory(replace(broken, users={**DIRECTORY.users, "u-10": "New"}))
    assert filled.read_directory() == DIRECTORY


def test_rows_that_make_no_sense_are_left_out_and_logged(address: str, caplog: pytest.LogCaptureFixture) -> None:
    for sql in CUSTOMERS:
        execute(address, sql)
    store = open_core_store(address)
    store.replace_directory(DIRECTORY)
    for sql in (
        "INSERT INTO counties (county_id, region_id, name) VALUES ('c-9', 'r-9', 'Nowhere')",
        "INSERT INTO facilities (facility_id, county_id, name) VALUES ('f-8', 'c-9', 'Nowhere')",
        "INSERT INTO facilities (facility_id, county_id, name) VALUES ('f-9', NULL, 'Nowhere')",
        "INSERT INTO users (user_id, name) VALUES ('not allowed', 'Spaces')",
        "INSERT INTO facility_users (user_id, facility_id) VALUES ('u-9', 'f-1')",
        "INSERT INTO facility_users (user_id, facility_id) VALUES ('u-1', 'f-8')",
    ):
        execute(address, sql)
    with caplog.at_level(logging.WARNING):
        assert store.read_directory() == DIRECTORY
    for left_out in ("c-9", "f-8, f-9", "not allowed", "u-1 at f-8, u-9 at f-1"):
        assert any(record.message.endswith(left_out) for record in caplog.records), left_out
    store.close()


def test_connectivity_is_written_with_its_time(filled: SqlCoreStore, address: str) -> None:
    assert filled.update_connectivity([change("f-1", 1), change("f-1", 3), change("f-1", 2), change("f-3", 1)]) == 2
    status, since, version = connectivity(address)["f-1"]
    assert (status, version) == ("online", 3)
    assert since is not None
    assert since.replace(" ", "T").rstrip("Z") == "2026-11-18T11:06:40.126"


def test_connectivity_never_goes_back(filled: SqlCoreStore, address: str) -> None:
    filled.update_connectivity([change("f-1", 5)])
    assert filled.update_connectivity([change("f-1", 5, FacilityStatus.OFFLINE)]) == 0
    assert filled.update_connectivity([change("f-1", 4, FacilityStatus.OFFLINE)]) == 0
    assert connectivity(address)["f-1"][::2] == ("online", 5)


def test_connectivity_of_strangers_and_removals_is_passed_over(filled: SqlCoreStore, address: str) -> None:
    assert filled.update_connectivity([change("f-99", 5), change("f-1", 6, FacilityStatus.REMOVED)]) == 0
    assert filled.update_connectivity([]) == 0
    assert connectivity(address)["f-1"] == ("offline", None, 0)


def test_connectivity_is_no_part_of_the_fingerprint(filled: SqlCoreStore, address: str) -> None:
    before = filled.directory_fingerprint()
    filled.update_connectivity([change("f-1", 1)])
    assert filled.directory_fingerprint() == before
    other = open_core_store(address)
    other.update_connectivity([change("f-1", 2)])
    assert filled.directory_fingerprint() == before == other.directory_fingerprint()
    other.close()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO regions (region_id, name) VALUES ('r-9', 'New')",
        "UPDATE counties SET region_id = 'r-1' WHERE county_id = 'c-2'",
        "UPDATE facilities SET county_id = 'c-2' WHERE facility_id = 'f-1'",
        "UPDATE users SET name = 'Ada L.' WHERE user_id = 'u-1'",
        "DELETE FROM users WHERE user_id = 'u-4'",
        "DELETE FROM facility_users WHERE user_id = 'u-1'",
        "UPDATE facility_users SET user_id = 'u-4' WHERE user_id = 'u-1'",
    ],
)
def test_somebody_elses_change_shows_in_the_fingerprint(filled: SqlCoreStore, address: str, sql: str) -> None:
    before = filled.directory_fingerprint()
    assert filled.directory_fingerprint() == before
    execute(address, sql)
    assert filled.directory_fingerprint() != before


def test_two_users_who_swap_facilities_show_in_the_fingerprint(filled: SqlCoreStore) -> None:
    before = filled.directory_fingerprint()
    swapped = {**DIRECTORY.facilities_of_user, "u-1": ("f-2",), "u-2": ("f-1",)}
    filled.replace_directory(replace(DIRECTORY, facilities_of_user=swapped))
    assert filled.directory_fingerprint() != before
    filled.replace_directory(DIRECTORY)
    assert filled.directory_fingerprint() == before


def test_a_directory_larger_than_one_document_is_replaced(store: SqlCoreStore) -> None:
    users = {f"u-{number}": f"User {number}" for number in range(12_000)}
    member_of = dict.fromkeys(users, ("f-1",)) | {"u-7": ("f-1", "f-2", "f-3")}
    large = replace(DIRECTORY, users=users, facilities_of_user=member_of)
    assert store.replace_directory(large) == 2 + 2 + 3 + 12_000 + 12_002
    assert store.read_directory() == large
    store.replace_directory(DIRECTORY)
    assert store.read_directory() == DIRECTORY
