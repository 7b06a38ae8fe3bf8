"""Reads a directory from CSV files, one per table of the core database."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN

LONGEST_NAME = 200
"""Characters."""

_HEADERS = {
    "regions": ("region_id", "name"),
    "counties": ("county_id", "region_id", "name"),
    "facilities": ("facility_id", "county_id", "name"),
    "users": ("user_id", "name"),
    "facility_users": ("user_id", "facility_id"),
}


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that was left out. `line` is the line of the file on which it starts, 1 being the header."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


@dataclass(frozen=True, slots=True)
class LoadedDirectory:
    """The good rows of the files.

    `incomplete_tables` are those whose file is absent or has errors: their rows in the database must be kept
    (`replace_directory(…, keep_missing=…)`), since nobody can tell which of them were meant to go.
    """

    directory: Directory
    errors: list[RowError]
    incomplete_tables: frozenset[str]


def read_csv_directory(folder: Path, existing: Directory | None = None) -> LoadedDirectory:
    """Returns what the files of a folder say and what is wrong with them.

    A file is `<table>.csv` in UTF-8, with or without byte order mark; its header names the table's columns in any
    order, further columns and empty lines are ignored. A row may refer to rows of the files and, where those of a
    table stay in the database, to rows of `existing`. Raises OSError if the folder or a file cannot be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a directory with CSV files")
    reader = _Reader(folder, existing or Directory())
    regions = reader.regions()
    counties = reader.counties(regions)
    facilities = reader.facilities(counties)
    users = reader.users()
    facilities_of_user = reader.facility_users(users, facilities)
    return LoadedDirectory(
        Directory(regions, counties, facilities, users, facilities_of_user),
        reader.errors,
        frozenset(reader.incomplete),
    )


class _RowProblem(Exception):  # noqa: N818 - a row's fault, reported and never raised to the caller
    pass


class _Reader:
    def __init__(self, folder: Path, existing: Directory) -> None:
        self._folder = folder
        self._existing = existing
        self.errors: list[RowError] = []
        self.incomplete: set[str] = set()

    def regions(self) -> dict[str, Region]:
        found: dict[str, Region] = {}
        for line, (region_id, name) in self._rows("regions"):
            with _Checked(self, "regions", line):
                _check_new("region_id", region_id, found)
                found[region_id] = Region(region_id, _name(name))
        return found

    def counties(self, regions: dict[str, Region]) -> dict[str, County]:
        known = self._known("regions", regions, self._existing.regions)
        found: dict[str, County] = {}
        for line, (county_id, region_id, name) in self._rows("counties"):
            with _Checked(self, "counties", line):
                _check_new("county_id", county_id, found)
                _check_known("region_id", region_id, known)
                found[county_id] = County(county_id, region_id, _name(name))
        return found

    def facilities(self, counties: dict[str, County]) -> dict[str, Facility]:
        known = self._known("counties", counties, self._existing.counties)
        found: dict[str, Facility] = {}
        for line, (facility_id, county_id, name) in self._rows("facilities"):
            with _Checked(self, "facilities", line):
                _check_new("facility_id", facility_id, found)
                _check_known("county_id", county_id, known)
                found[facility_id] = Facility(facility_id, county_id, _name(name))
        return found

    def users(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line, (user_id, name) in self._rows("users"):
            with _Checked(self, "users", line):
                if not USER_ID_PATTERN.fullmatch(user_id):
                    raise _RowProblem(f"user_id {user_id!r} does not match {USER_ID_PATTERN.pattern}")
                if user_id in found:
                    raise _RowProblem(f"user_id {user_id!r} was given before")
                found[user_id] = _name(name)
        return found

    def facility_users(self, users: dict[str, str], facilities: dict[str, Facility]) -> dict[str, tuple[str, ...]]:
        known_users = self._known("users", users, self._existing.users)
        known_facilities = self._known("facilities", facilities, self._existing.facilities)
        found: dict[str, dict[str, None]] = {}
        for line, (user_id, facility_id) in self._rows("facility_users"):
            with _Checked(self, "facility_users", line):
                _check_known("user_id", user_id, known_users)
                _check_known("facility_id", facility_id, known_facilities)
                ids = found.setdefault(user_id, {})
                if facility_id in ids:
                    raise _RowProblem(f"user {user_id!r} at facility {facility_id!r} was given before")
                ids[facility_id] = None
        return {user_id: tuple(sorted(ids)) for user_id, ids in found.items()}

    def _known(self, table: str, read: Collection[str], existing: Collection[str]) -> set[str]:
        return set(read) | set(existing) if table in self.incomplete else set(read)

    def report(self, table: str, line: int, problem: str) -> None:
        self.errors.append(RowError(f"{table}.csv", line, problem))
        self.incomplete.add(table)

    def _rows(self, table: str) -> Iterator[tuple[int, list[str]]]:
        """Yields line and values, in the order of the table's columns, of every row that has them."""
        path = self._folder / f"{table}.csv"
        if not path.exists():
            self.incomplete.add(table)
            return
        # Undecodable bytes become lone surrogates, so that they spoil their row and not the file.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            positions: list[int] | None = None
            width = 0
            for line, cells in self._records(table, file):
                if positions is None:
                    header = [cell.strip() for cell in cells]
                    if missing := [column for column in _HEADERS[table] if column not in header]:
                        self.report(table, line, f"the header lacks {', '.join(missing)}")
                        return
                    positions, width = [header.index(column) for column in _HEADERS[table]], len(header)
                elif len(cells) != width:
                    self.report(table, line, f"{len(cells)} values where the header has {width}")
                else:
                    yield line, [cells[position] for position in positions]
            if positions is None:
                self.report(table, 1, "the file has no header")

    def _records(self, table: str, file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        # Strict: a stray quote is an error of its row instead of a silent change of its text.
        records = csv.reader(file, strict=True)
        while True:
            line = records.line_num + 1
            try:
                cells = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                self.report(table, line, f"not valid CSV: {error}")
                continue
            if not cells:
                continue
            try:
                "".join(cells).encode()
            except UnicodeEncodeError:
                self.report(table, line, "not valid UTF-8")
                continue
            yield line, cells


class _Checked:
    """Reports a problem of the row read inside, instead of letting it end the file."""

    def __init__(self, reader: _Reader, table: str, line: int) -> None:
        self._reader = reader
        self._table = table
        self._line = line

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> bool:
        if not isinstance(problem, _RowProblem):
            return False
        self._reader.report(self._table, self._line, str(problem))
        return True


def _check_new(column: str, value: str, found: Collection[str]) -> None:
    if not ID_PATTERN.fullmatch(value):
        raise _RowProblem(f"{column} {value!r} does not match {ID_PATTERN.pattern}")
    if value in found:
        raise _RowProblem(f"{column} {value!r} was given before")


def _check_known(column: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise _RowProblem(f"{column} {value!r} is not known")


def _name(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME:
        raise _RowProblem(f"name has {len(name)} characters instead of 1 to {LONGEST_NAME}")
    if "\0" in name:
        raise _RowProblem("name contains a NUL character")
    return name
