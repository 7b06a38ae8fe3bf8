"""Who the simulated front-ends belong to."""

import csv
from dataclasses import dataclass
from pathlib import Path
from random import Random

from emulators.stack import demo


@dataclass(frozen=True, slots=True)
class Person:
    """A user with the facilities that they belong to."""

    user_id: str
    facility_ids: tuple[str, ...]


def read_people(folder: Path | None) -> list[Person]:
    """The users with a facility, of a directory's CSV files or, without any, of the demo directory."""
    if folder is None or not (folder / "facility_users.csv").exists():
        header, *rows = demo.tables()["facility_users"]
        pairs = [dict(zip(header, row, strict=True)) for row in rows]
    else:
        with (folder / "facility_users.csv").open(encoding="utf-8-sig", newline="") as file:
            pairs = list(csv.DictReader(file))
    facilities: dict[str, list[str]] = {}
    for pair in pairs:
        facilities.setdefault(pair["user_id"], []).append(pair["facility_id"])
    return [Person(user_id, tuple(sorted(ids))) for user_id, ids in facilities.items()]


def seat_people(people: list[Person], seats: int, seed: str) -> list[Person]:
    """Gives every seat a person: all people once before anybody has a second screen."""
    order = Random(f"{seed}/people").sample(people, len(people))
    return [order[seat % len(order)] for seat in range(seats)]
