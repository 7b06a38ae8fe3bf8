"""What the contract says of the demo directory."""

from pathlib import Path

import pytest

from emulators.stack import demo
from shared.store.load import LoadedDirectory, read_csv_directory


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedDirectory:
    folder: Path = tmp_path_factory.mktemp("demo") / "made" / "here"
    demo.write(folder)
    return read_csv_directory(folder)


def test_it_has_no_broken_row(loaded: LoadedDirectory) -> None:
    assert loaded.errors == []
    assert loaded.incomplete_tables == frozenset()


def test_ids_count_up_and_children_follow_their_parents_in_order(loaded: LoadedDirectory) -> None:
    directory = loaded.directory
    assert list(directory.regions) == [f"r-{n}" for n in range(1, 4)]
    assert [county.region_id for county in directory.counties.values()] == [f"r-{1 + n // 2}" for n in range(6)]
    assert [facility.county_id for facility in directory.facilities.values()] == [f"c-{1 + n // 10}" for n in range(60)]
    assert list(directory.facilities) == [f"f-{n}" for n in range(1, 61)]
    assert list(directory.users) == [f"u-{n}" for n in range(1, 601)]


def test_the_first_forty_users_belong_to_the_facility_of_their_number_alone(loaded: LoadedDirectory) -> None:
    for number in range(1, 41):
        assert loaded.directory.facilities_of_user[f"u-{number}"] == (f"f-{number}",)


def test_only_the_first_facility_has_a_single_user(loaded: LoadedDirectory) -> None:
    members: dict[str, list[str]] = {}
    for user, facilities in loaded.directory.facilities_of_user.items():
        for facility in facilities:
            members.setdefault(facility, []).append(user)
    assert members.pop("f-1") == ["u-1"]
    assert len(members) == 59
    assert min(len(users) for users in members.values()) >= 5


def test_every_user_has_facilities_and_some_have_several(loaded: LoadedDirectory) -> None:
    sizes = [len(ids) for ids in loaded.directory.facilities_of_user.values()]
    assert len(sizes) == 600
    assert sum(size > 1 for size in sizes) > 100
    assert max(sizes) == 3


def test_people_and_places_have_names_of_their_own(loaded: LoadedDirectory) -> None:
    directory = loaded.directory
    assert len(set(directory.users.values())) == 600
    assert len({facility.name for facility in directory.facilities.values()}) == 60


def test_every_run_writes_the_same_bytes(tmp_path: Path) -> None:
    demo.write(tmp_path / "a")
    demo.write(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
