"""The directory as rows of five tables: reading them into a `Directory`, and the difference between two states."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN
from shared.errors import StoreError
from shared.store.database import Record, Transaction

log = logging.getLogger(__name__)

TABLES = ("regions", "counties", "facilities", "users", "facility_users")
"""Every table after those that it refers to."""


@dataclass(frozen=True, slots=True)
class DirectoryRows:
    """What the tables hold, as stored. Counties and facilities map to (parent's id, name)."""

    regions: dict[str, str]
    counties: dict[str, tuple[str | None, str]]
    facilities: dict[str, tuple[str | None, str]]
    users: dict[str, str]
    facilities_of_user: dict[str, tuple[str, ...]]


def read_rows(transaction: Transaction) -> DirectoryRows:
    """Reads all five tables; about 5 s for a million users."""
    facilities = {
        facility_id: (county_id, name) for facility_id, county_id, name in transaction.read("read_facilities")
    }
    users: dict[str, str] = dict(transaction.read("read_users"))
    # A million users of some thousand facilities share one text per id, and most of them one tuple per facility.
    own = {user_id: user_id for user_id in users}
    single = {facility_id: (facility_id,) for facility_id in facilities}
    facilities_of_user: dict[str, tuple[str, ...]] = {}
    for user_id, rows in groupby(transaction.read("read_facility_users"), key=itemgetter(0)):
        ids = tuple(facility_id for _, facility_id in rows)
        # Where case does not matter to the database, its order may come back to a user.
        ids += facilities_of_user.get(user_id, ())
        facilities_of_user[own.get(user_id, user_id)] = single.get(ids[0], ids) if len(ids) == 1 else tuple(sorted(ids))
    return DirectoryRows(
        regions=dict(transaction.read("read_regions")),
        counties={county_id: (region_id, name) for county_id, region_id, name in transaction.read("read_counties")},
        facilities=facilities,
        users=users,
        facilities_of_user=facilities_of_user,
    )


def to_directory(rows: DirectoryRows) -> Directory:
    """Returns what of the rows makes sense; logs the rest by table and id."""
    regions = {key: Region(key, name) for key, name in rows.regions.items() if ID_PATTERN.fullmatch(key)}
    counties = {
        key: County(key, parent, name)
        for key, (parent, name) in rows.counties.items()
        if parent in regions and ID_PATTERN.fullmatch(key)
    }
    facilities = {
        key: Facility(key, parent, name)
        for key, (parent, name) in rows.facilities.items()
        if parent in counties and ID_PATTERN.fullmatch(key)
    }
    strangers = {key for key in rows.users if not USER_ID_PATTERN.fullmatch(key)}
    users = {key: name for key, name in rows.users.items() if key not in strangers} if strangers else rows.users
    facilities_of_user, lost = _known_memberships(rows.facilities_of_user, users, facilities)
    _log_left_out("regions", rows.regions.keys() - regions.keys())
    _log_left_out("counties", rows.counties.keys() - counties.keys())
    _log_left_out("facilities", rows.facilities.keys() - facilities.keys())
    _log_left_out("users", strangers)
    _log_left_out("facility_users", lost)
    return Directory(regions, counties, facilities, users, facilities_of_user)


def _known_memberships(
    stored: dict[str, tuple[str, ...]], users: dict[str, str], facilities: dict[str, Facility]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Returns the memberships whose ends both exist, and a text for each of the others."""
    named = {facility_id for ids in stored.values() for facility_id in ids}
    if stored.keys() <= users.keys() and named <= facilities.keys():
        return stored, []
    known: dict[str, tuple[str, ...]] = {}
    lost: list[str] = []
    for user_id, ids in stored.items():
        good = tuple(key for key in ids if user_id in users and key in facilities)
        lost.extend(f"{user_id} at {key}" for key in ids if key not in good)
        if good:
            known[user_id] = good
    return known, lost


def _log_left_out(table: str, ids: Iterable[str]) -> None:
    if found := sorted(ids):
        log.warning(
            "%d rows of %s are left out of the directory: their id is not allowed, or their parent not there: %s",
            len(found),
            table,
            ", ".join(found[:5]) + (", …" if len(found) > 5 else ""),
        )


@dataclass(slots=True)
class TableChange:
    """What makes one table equal to what is wanted."""

    put: list[Record] = field(default_factory=list)
    delete: list[Record] = field(default_factory=list)


def difference(existing: DirectoryRows, wanted: Directory, keep_missing: frozenset[str]) -> dict[str, TableChange]:
    """Returns, by table, the rows to write and those to delete.

    Raises ValueError for a table in `keep_missing` that the directory does not have.
    """
    if unknown := keep_missing - set(TABLES):
        raise ValueError(f"no directory tables: {', '.join(sorted(unknown))}")
    changes = {table: TableChange() for table in TABLES}
    keep_memberships = "facility_users" in keep_missing
    kept = existing.facilities_of_user if keep_memberships else {}

    changes["facility_users"] = _membership_change(existing.facilities_of_user, wanted, keep=keep_memberships)
    gone = _missing(existing.users, wanted.users, "users" in keep_missing, protected=kept.keys())
    changes["users"] = TableChange(
        [{"user_id": key, "name": name} for key, name in wanted.users.items() if existing.users.get(key) != name],
        [{"user_id": key} for key in gone],
    )

    gone = _missing(
        existing.facilities,
        wanted.facilities,
        "facilities" in keep_missing,
        protected={facility_id for ids in kept.values() for facility_id in ids},
    )
    changes["facilities"] = TableChange(
        [
            {"facility_id": key, "county_id": facility.county_id, "name": facility.name}
            for key, facility in wanted.facilities.items()
            if existing.facilities.get(key) != (facility.county_id, facility.name)
        ],
        [{"facility_id": key} for key in gone],
    )
    parents = _parents_of_remaining(existing.facilities, wanted.facilities, gone)

    gone = _missing(existing.counties, wanted.counties, "counties" in keep_missing, protected=parents)
    changes["counties"] = TableChange(
        [
            {"county_id": key, "region_id": county.region_id, "name": county.name}
            for key, county in wanted.counties.items()
            if existing.counties.get(key) != (county.region_id, county.name)
        ],
        [{"county_id": key} for key in gone],
    )
    parents = _parents_of_remaining(existing.counties, wanted.counties, gone)

    gone = _missing(existing.regions, wanted.regions, "regions" in keep_missing, protected=parents)
    changes["regions"] = TableChange(
        [
            {"region_id": key, "name": region.name}
            for key, region in wanted.regions.items()
            if existing.regions.get(key) != region.name
        ],
        [{"region_id": key} for key in gone],
    )
    return changes


def check_references(existing: DirectoryRows, wanted: Directory, changes: Mapping[str, TableChange]) -> None:
    """Raises StoreError if a wanted row refers to one that will not be there; a customer's tables may not check."""

    def there(table: str, held: Mapping[str, object], wanted_keys: Iterable[str], column: str) -> set[str]:
        return (held.keys() - {str(row[column]) for row in changes[table].delete}) | set(wanted_keys)

    regions = there("regions", existing.regions, wanted.regions, "region_id")
    counties = there("counties", existing.counties, wanted.counties, "county_id")
    facilities = there("facilities", existing.facilities, wanted.facilities, "facility_id")
    users = there("users", existing.users, wanted.users, "user_id")
    _refuse("county", "region", ((c.county_id, c.region_id) for c in wanted.counties.values()), regions)
    _refuse("facility", "county", ((f.facility_id, f.county_id) for f in wanted.facilities.values()), counties)
    _refuse("membership", "user", ((key, key) for key in wanted.facilities_of_user), users)
    pairs = ((user_id, key) for user_id, ids in wanted.facilities_of_user.items() for key in ids)
    _refuse("user", "facility", pairs, facilities)


def _refuse(child: str, parent: str, references: Iterable[tuple[str, str]], there: set[str]) -> None:
    for key, target in references:
        if target not in there:
            raise StoreError(f"the directory's {child} {key} refers to the {parent} {target}, which does not exist")


def _membership_change(existing: Mapping[str, tuple[str, ...]], wanted: Directory, *, keep: bool) -> TableChange:
    change = TableChange()
    for user_id, ids in wanted.facilities_of_user.items():
        held = existing.get(user_id, ())
        if held != ids:
            change.put.extend({"user_id": user_id, "facility_id": key} for key in ids if key not in held)
    if not keep:
        for user_id, held in existing.items():
            ids = wanted.facilities_of_user.get(user_id, ())
            if held != ids:
                change.delete.extend({"user_id": user_id, "facility_id": key} for key in held if key not in ids)
    return change


def _missing(
    existing: Mapping[str, object], wanted: Mapping[str, object], keep: bool, *, protected: Iterable[str]
) -> set[str]:
    return set() if keep else (existing.keys() - wanted.keys()).difference(protected)


def _parents_of_remaining(
    existing: Mapping[str, tuple[str | None, str]], wanted: Mapping[str, object], gone: set[str]
) -> set[str]:
    """Returns the parents of rows that are neither written anew nor deleted."""
    return {parent for key, (parent, _) in existing.items() if key not in wanted and key not in gone and parent}
