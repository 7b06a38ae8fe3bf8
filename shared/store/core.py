"""The core database: the customer's directory, and each facility's connectivity."""

import hashlib
from collections.abc import Sequence
from itertools import batched

from shared.domain.directory import Directory
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.instants import to_iso
from shared.errors import StoreError
from shared.store.database import Database, Record, Transaction
from shared.store.directory_rows import TABLES, check_references, difference, read_rows, to_directory
from shared.store.ports import Place, RegionPlaces
from shared.store.statements import migrations

_ROLE = "core"

_NEEDED = {
    "regions": ("region_id", "name"),
    "counties": ("county_id", "region_id", "name"),
    "facilities": (
        *("facility_id", "county_id", "name"),
        *("connectivity_status", "connectivity_since", "connectivity_version"),
    ),
    "users": ("user_id", "name"),
    "facility_users": ("user_id", "facility_id"),
}


# Migrations that add an index to one table. Only where this product makes that table: the customer's own, which may be
# a view, is left as it is.
_INDEXED = {"0002_counties_by_region": "counties", "0003_facilities_by_county": "facilities"}


class SqlCoreStore:
    """`CoreStore` in either dialect."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.thread = database.thread
        # The last fingerprint and what was known of other writers and of this one when it was taken.
        self._fingerprint: tuple[tuple[str, int], str] | None = None
        self._own_writes = 0
        self._migrated = False

    def migrate(self) -> list[str]:
        """Creates what is absent; needs no right to create where all tables exist."""
        if not self._database.run(_ROLE, _absent_tables):
            return []

        def work(transaction: Transaction) -> list[str]:
            # Asked again under the write lock: another process may have been first.
            absent = _absent_tables(transaction)
            if not absent:
                return []
            known = migrations(self._database.dialect, _ROLE)
            missing = [name for name in known if _INDEXED.get(name) in absent or name not in _INDEXED]
            for name in missing:
                transaction.script(known[name])
            return missing

        return self._database.run(_ROLE, work, writing=True)

    def directory_fingerprint(self) -> str:
        """Hashes the directory's columns.

        Where the database tells cheaply whether another connection has written (SQLite), nothing is read again until
        one has. Connectivity is no part of the hash: what `update_connectivity` writes every minute must not make
        every process read and publish the whole directory again.
        """

        def work(transaction: Transaction) -> str:
            marker = transaction.change_marker()
            state = None if marker is None else (marker, self._own_writes)
            if self._fingerprint is not None and self._fingerprint[0] == state:
                return self._fingerprint[1]
            digest = hashlib.blake2b(digest_size=16)
            # By the thousand: hashing a million texts one by one takes twice as long.
            for rows in batched(transaction.read("directory_fingerprint"), 1_000, strict=False):
                digest.update("\x1e".join([text for (text,) in rows]).encode())
            if state is not None:
                self._fingerprint = (state, digest.hexdigest())
            return digest.hexdigest()

        return self._database.run(_ROLE, work)

    def read_directory(self) -> Directory:
        """Reads the directory."""
        return to_directory(self._database.run(_ROLE, read_rows))

    def find_facility(self, facility_id: str, user_id: str) -> Place | None:
        """Looks one facility up, as it stands in the tables now."""

        def work(transaction: Transaction) -> Place | None:
            order = {"facility_id": facility_id, "user_id": user_id}
            for region_id, member in transaction.read("find_facility", order):
                return Place(str(region_id), bool(member))
            return None

        self._migrate_once()
        return self._database.run(_ROLE, work, attempts=2)

    def find_region(self, region_id: str, user_id: str) -> RegionPlaces | None:
        """Looks one region's facilities up, as they stand in the tables now."""

        def work(transaction: Transaction) -> RegionPlaces | None:
            rows = list(transaction.read("find_region", {"region_id": region_id, "user_id": user_id}))
            if not rows:
                return None
            # A region without facilities is one row without any.
            facility_ids = tuple(str(facility_id) for facility_id, _ in rows if facility_id is not None)
            return RegionPlaces(facility_ids, any(bool(member) for _, member in rows))

        self._migrate_once()
        return self._database.run(_ROLE, work, attempts=2)

    def _migrate_once(self) -> None:
        if not self._migrated:
            # A first call may come before the first monitor run. Asked before: whether anybody answers at all.
            self.ping()
            self.migrate()
            self._migrated = True

    def replace_directory(self, directory: Directory, *, keep_missing: frozenset[str] = frozenset()) -> int:
        """Writes the difference between the tables and `directory`."""

        def work(transaction: Transaction) -> int:
            self._own_writes += 1
            existing = read_rows(transaction)
            changes = difference(existing, directory, keep_missing)
            check_references(existing, directory, changes)
            written = sum(transaction.write(f"put_{table}", changes[table].put) for table in TABLES)
            deleted = sum(transaction.write(f"delete_{table}", changes[table].delete) for table in reversed(TABLES))
            return written + deleted

        return self._database.run(_ROLE, work, writing=True)

    def update_connectivity(self, changes: Sequence[FacilityChange]) -> int:
        """Writes the newest of each facility's changes."""
        newest: dict[str, FacilityChange] = {}
        for change in changes:
            held = newest.get(change.facility_id)
            if change.status is not FacilityStatus.REMOVED and (held is None or change.version > held.version):
                newest[change.facility_id] = change
        if not newest:
            return 0
        rows: list[Record] = [
            {
                "facility_id": change.facility_id,
                "status": change.status.value,
                "since": to_iso(change.since),
                "version": change.version,
            }
            for change in newest.values()
        ]
        return self._database.run(_ROLE, lambda t: t.write("update_connectivity", rows), writing=True)

    def ping(self) -> None:
        """Asks once, without retry: the question is how things are now."""
        self._database.run(_ROLE, lambda t: list(t.read("ping")), attempts=1)

    def close(self) -> None:
        """Closes the connection."""
        self._database.close()


def _absent_tables(transaction: Transaction) -> set[str]:
    """Returns the tables that do not exist. Raises StoreError if one that does lacks a column."""
    found: dict[str, set[str]] = {}
    for table, column in transaction.read("read_columns"):
        found.setdefault(table, set()).add(column)
    lacking = [
        f"{table}.{column}"
        for table, columns in _NEEDED.items()
        if table in found
        for column in columns
        if column not in found[table]
    ]
    if lacking:
        raise StoreError(
            f"the core database lacks the columns {', '.join(lacking)}; "
            "add them there: this product does not alter tables that it did not make"
        )
    return _NEEDED.keys() - found.keys()
