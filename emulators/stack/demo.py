"""Writes the demo directory as CSV files, one per table: `python -m emulators.stack.demo DIR`.

Regions r-1…r-3, counties c-1…c-6 (two a region), facilities f-1…f-60 (ten a county), users u-1…u-600. u-1 belongs to
f-1 and nobody else does; u-2…u-40 belong to the facility of their number alone; of the others every fifth belongs to
several. Names follow from the number, so every run writes the same bytes.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

REGIONS = 3
COUNTIES = 6
FACILITIES = 60
USERS = 600
SINGLE_USERS = 40
"""u-1 to this one belong to the facility of their number alone."""

_REGION_NAMES = ("Northern Lakes", "Central Valley", "Southern Coast")
_COUNTY_NAMES = ("Ashford", "Birchmoor", "Clearwater", "Dunmore", "Eastbrook", "Fairhaven")
_KINDS = (
    *("General Hospital", "Health Centre", "Children's Clinic", "Eye Clinic", "Dialysis Centre"),
    *("Pharmacy", "Maternity House", "Rehabilitation Centre", "Dental Practice", "Care Home"),
)
_FIRST_NAMES = (
    *("Ada", "Bilal", "Chiara", "Daniel", "Elif", "Farid", "Grace", "Hugo", "Ingrid", "Jonas"),
    *("Kavya", "Liam", "Mei", "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tove"),
    *("Uma", "Viktor", "Wanda", "Xavier", "Yusuf", "Zoë", "Anika", "Bruno", "Céline", "Dmitri"),
)
_LAST_NAMES = (
    *("Abbott", "Bergström", "Costa", "Delgado", "Eriksen", "Fischer", "Gupta", "Haddad", "Ivanova", "Jensen"),
    *("Kowalski", "Lindqvist", "Moreau", "Nakamura", "O'Brien", "Petrov", "Rossi", "Schäfer", "Tanaka", "Weber"),
)


def facility_numbers(user: int) -> list[int]:
    """Returns the numbers of the facilities that a user, given by number, belongs to."""
    if user <= SINGLE_USERS:
        return [user]
    # f-1 stays out of the round: nobody shares it with u-1.
    shared = FACILITIES - 1
    first = (user - SINGLE_USERS - 1) % shared
    offsets = [0]
    if user % 5 == 0:
        offsets.append(1)
    if user % 20 == 0:
        offsets.append(30)
    return sorted(2 + (first + offset) % shared for offset in offsets)


def tables() -> dict[str, list[Sequence[str]]]:
    """Returns the rows of each table, the header first."""
    return {
        "regions": [("region_id", "name"), *((f"r-{n}", _REGION_NAMES[n - 1]) for n in _numbers(REGIONS))],
        "counties": [
            ("county_id", "region_id", "name"),
            *((f"c-{n}", f"r-{_parent(n, COUNTIES // REGIONS)}", _COUNTY_NAMES[n - 1]) for n in _numbers(COUNTIES)),
        ],
        "facilities": [
            ("facility_id", "county_id", "name"),
            *((f"f-{n}", f"c-{_county(n)}", _facility_name(n)) for n in _numbers(FACILITIES)),
        ],
        "users": [("user_id", "name"), *((f"u-{n}", _user_name(n)) for n in _numbers(USERS))],
        "facility_users": [
            ("user_id", "facility_id"),
            *((f"u-{n}", f"f-{facility}") for n in _numbers(USERS) for facility in facility_numbers(n)),
        ],
    }


def write(folder: Path) -> None:
    """Writes `<table>.csv` for every table, making the folder where absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables().items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _numbers(count: int) -> Iterable[int]:
    return range(1, count + 1)


def _parent(number: int, children: int) -> int:
    return (number - 1) // children + 1


def _county(facility: int) -> int:
    return _parent(facility, FACILITIES // COUNTIES)


def _facility_name(facility: int) -> str:
    return f"{_COUNTY_NAMES[_county(facility) - 1]} {_KINDS[(facility - 1) % len(_KINDS)]}"


def _user_name(user: int) -> str:
    # 30 first names by 20 last names give every user their own; the sum spreads neighbours over the last names.
    turn, first = divmod(user - 1, len(_FIRST_NAMES))
    return f"{_FIRST_NAMES[first]} {_LAST_NAMES[(11 * turn + first) % len(_LAST_NAMES)]}"


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m emulators.stack.demo", description="Writes the demo directory.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder: Path = parser.parse_args().folder
    try:
        write(folder)
    except OSError as error:
        print(f"cannot write the demo directory: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
