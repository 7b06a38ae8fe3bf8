"""Reading a directory from CSV files."""

from pathlib import Path

import pytest

from shared.domain.directory import County, Directory, Facility, Region
from shared.store.load import LoadedDirectory, RowError, read_csv_directory

GOOD = {
    "regions": "region_id,name\nr-1,North\nr-2,South\n",
    "counties": "county_id,region_id,name\nc-1,r-1,Ash\nc-2,r-2,Birch\n",
    "facilities": "facility_id,county_id,name\nf-1,c-1,Clinic\nf-2,c-2,Pharmacy\n",
    "users": "user_id,name\nu-1,Ada\nu-2,Bo\n",
    "facility_users": "user_id,facility_id\nu-1,f-1\nu-2,f-2\nu-2,f-1\n",
}
DIRECTORY = Directory(
    regions={"r-1": Region("r-1", "North"), "r-2": Region("r-2", "South")},
    counties={"c-1": County("c-1", "r-1", "Ash"), "c-2": County("c-2", "r-2", "Birch")},
    facilities={"f-1": Facility("f-1", "c-1", "Clinic"), "f-2": Facility("f-2", "c-2", "Pharmacy")},
    users={"u-1": "Ada", "u-2": "Bo"},
    facilities_of_user={"u-1": ("f-1",), "u-2": ("f-1", "f-2")},
)


def load(
    folder: Path, existing: Directory | None = None, *, without: str = "", **changed: str | bytes | None
) -> LoadedDirectory:
    """Loads the good files with some of them changed; None leaves one out, `without` as it was before."""
    for table, content in {**GOOD, **changed}.items():
        if content is not None and table != without:
            (folder / f"{table}.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv_directory(folder, existing)


def test_good_files_give_the_directory(tmp_path: Path) -> None:
    assert load(tmp_path) == LoadedDirectory(DIRECTORY, [], frozenset())


@pytest.mark.parametrize(
    "facilities",
    [
        "\ufefffacility_id,county_id,name\r\nf-1,c-1,Clinic\r\nf-2,c-2,Pharmacy",
        "\n\nfacility_id,county_id,name\n\nf-1,c-1,Clinic\n\n\nf-2,c-2,Pharmacy\n\n",
        'name,"facility_id",phone,county_id\nClinic,f-1,123,c-1\nPharmacy,f-2,,c-2\n',
        "facility_id,county_id,name,connectivity_status,connectivity_since,connectivity_version\n"
        "f-1,c-1,Clinic,online,whenever,x\nf-2,c-2,Pharmacy,,,\n",
    ],
    ids=["byte order mark and CRLF", "empty lines", "other order and columns", "connectivity"],
)
def test_other_writings_mean_the_same(tmp_path: Path, facilities: str) -> None:
    assert load(tmp_path, facilities=facilities) == LoadedDirectory(DIRECTORY, [], frozenset())


def test_names_are_any_text_of_1_to_200_characters(tmp_path: Path) -> None:
    loaded = load(tmp_path, users=f'user_id,name\nu-1,"O\'Brien, ""Bob""\nJr. "\nu-2,{"🏥" * 200}\n')
    assert loaded.errors == []
    assert loaded.directory.users == {"u-1": 'O\'Brien, "Bob"\nJr. ', "u-2": "🏥" * 200}


@pytest.mark.parametrize(
    ("table", "row", "problem"),
    [
        ("regions", "r/1,x", "region_id 'r/1' does not match"),
        ("regions", ",x", "region_id '' does not match"),
        ("regions", f"{'r' * 65},x", "does not match"),
        ("regions", "r-2,again", "region_id 'r-2' was given before"),
        ("regions", "r-3,", "name has 0 characters instead of 1 to 200"),
        ("regions", f"r-3,{'x' * 201}", "name has 201 characters"),
        ("regions", "r-3,a\0b", "name contains a NUL"),
        ("regions", "r-3", "1 values where the header has 2"),
        ("regions", "r-3,a,b", "3 values where the header has 2"),
        ("regions", 'r-3,"a"b', "not valid CSV"),
        ("counties", "c-3,r-9,x", "region_id 'r-9' is not known"),
        ("facilities", "f-3,,x", "county_id '' is not known"),
        ("users", "u 3,x", "user_id 'u 3' does not match"),
        ("users", "u-1,again", "user_id 'u-1' was given before"),
        ("facility_users", "u-1,f-9", "facility_id 'f-9' is not known"),
        ("facility_users", "u-9,f-1", "user_id 'u-9' is not known"),
        ("facility_users", "u-1,f-1", "user 'u-1' at facility 'f-1' was given before"),
    ],
)
def test_a_broken_row_is_named_and_the_rest_loads(tmp_path: Path, table: str, row: str, problem: str) -> None:
    lines = GOOD[table].splitlines()
    (tmp_path / f"{table}.csv").write_text("\n".join([*lines, row, ""]), encoding="utf-8")
    loaded = load(tmp_path, without=table)
    [error] = loaded.errors
    assert (error.file, error.line) == (f"{table}.csv", len(lines) + 1)
    assert problem in error.problem
    assert str(error).startswith(f"{table}.csv:{len(lines) + 1}: ")
    assert loaded.directory == DIRECTORY
    assert loaded.incomplete_tables == {table}


def test_every_broken_row_is_named_by_the_line_on_which_it_starts(tmp_path: Path) -> None:
    users = 'user_id,name\nu 1,x\n"u-1","Ada\nLovelace"\n\nu 2,x\nu-2,Bo\nu-2,Bo\n'
    loaded = load(tmp_path, users=users)
    assert [error.line for error in loaded.errors] == [2, 6, 8]
    assert loaded.directory.users == {"u-1": "Ada\nLovelace", "u-2": "Bo"}


def test_bytes_that_are_no_utf8_spoil_their_row_alone(tmp_path: Path) -> None:
    loaded = load(tmp_path, users=b"user_id,name\nu-1,Ada\nu-3,Z\xfcrich\nu-2,Bo\n")
    assert loaded.errors == [RowError("users.csv", 3, "not valid UTF-8")]
    assert loaded.directory == DIRECTORY


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "the file has no header"),
        ("\n \n", 2, "the header lacks user_id, facility_id"),
        ("user_id,facility\nu-1,f-1\n", 1, "the header lacks facility_id"),
    ],
)
def test_a_file_without_its_columns_gives_no_rows(tmp_path: Path, content: str, line: int, problem: str) -> None:
    loaded = load(tmp_path, facility_users=content)
    assert loaded.errors == [RowError("facility_users.csv", line, problem)]
    assert loaded.directory.facilities_of_user == {}
    assert loaded.incomplete_tables == {"facility_users"}


def test_what_refers_to_a_broken_row_is_broken_too(tmp_path: Path) -> None:
    loaded = load(tmp_path, regions="region_id,name\nr-1,North\nr-2,\n")
    assert [str(error) for error in loaded.errors] == [
        "regions.csv:3: name has 0 characters instead of 1 to 200",
        "counties.csv:3: region_id 'r-2' is not known",
        "facilities.csv:3: county_id 'c-2' is not known",
        "facility_users.csv:3: facility_id 'f-2' is not known",
    ]
    assert loaded.incomplete_tables == {"regions", "counties", "facilities", "facility_users"}


def test_rows_that_stay_in_the_database_may_be_referred_to(tmp_path: Path) -> None:
    loaded = load(tmp_path, DIRECTORY, regions=None, facilities=None, users="user_id,name\nu-3,Cy\nu-2,\n")
    assert [str(error) for error in loaded.errors] == ["users.csv:3: name has 0 characters instead of 1 to 200"]
    assert loaded.incomplete_tables == {"regions", "facilities", "users"}
    assert loaded.directory.counties == DIRECTORY.counties
    assert loaded.directory.facilities_of_user == DIRECTORY.facilities_of_user


def test_rows_that_go_from_the_database_may_not(tmp_path: Path) -> None:
    loaded = load(tmp_path, DIRECTORY, users="user_id,name\nu-1,Ada\n")
    assert [(error.file, error.line) for error in loaded.errors] == [
        ("facility_users.csv", 3),
        ("facility_users.csv", 4),
    ]


def test_an_absent_folder_is_an_error_and_an_empty_one_a_directory_of_nothing(tmp_path: Path) -> None:
    assert read_csv_directory(tmp_path) == LoadedDirectory(Directory(), [], frozenset(GOOD))
    with pytest.raises(NotADirectoryError, match="nowhere"):
        read_csv_directory(tmp_path / "nowhere")
