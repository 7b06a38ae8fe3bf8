"""What `make load-directory` runs, on a system that is at work."""

from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.e2e.test_commands import run

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILES = {
    "regions": "region_id,name\nr-1,North\nr-7,Seventh\n",
    "counties": "county_id,region_id,name\nc-1,r-1,One\nc-7,r-7,Seven\nc-8,r-none,Nowhere\n",
    "facilities": "facility_id,county_id,name\nf-1,c-1,First\nf-70,c-7,Lighthouse\nf 71,c-7,Spaced\nf-72,c-8,Lost\n",
    "users": "user_id,name\nu-1,Ada\nu-70,Keeper\nu-71\nu-70,Again\n",
    "facility_users": "user_id,facility_id\nu-1,f-1\nu-70,f-70\nu-70,f-none\nu-none,f-70\n",
}
REPORTS = (
    "counties.csv:4: region_id 'r-none' is not known",
    "facilities.csv:4: facility_id 'f 71' does not match [A-Za-z0-9._-]{1,64}",
    "facilities.csv:5: county_id 'c-8' is not known",
    "users.csv:4: 1 values where the header has 2",
    "users.csv:5: user_id 'u-70' was given before",
    "facility_users.csv:4: facility_id 'f-none' is not known",
    "facility_users.csv:5: user_id 'u-none' is not known",
)


async def test_a_directory_with_broken_rows_is_loaded_without_them(system: System, tmp_path: Path) -> None:
    for table, content in FILES.items():
        (tmp_path / f"{table}.csv").write_text(content)
    stack = ("--directory", str(system.stack.directory))
    code, output = await run("load-directory", *stack, str(tmp_path))
    assert code == 2, output
    for report in REPORTS:
        assert report in output
    assert f"{len(REPORTS)} rows left out" in output

    # In force at once, for a region that nobody could listen to before.
    feed = await system.people.listen("u-70", "somebody")
    accepted = await system.people.beat("u-70")
    change = await feed.change("f-70", "online")
    assert (change["version"], change["since"]) == (1, accepted["receivedAt"])
    # What a file with broken rows does not name may be among them, so it stays.
    await system.people.beat("u-14")
    assert (await system.feed.change("f-14", "online"))["version"] == 1


async def test_a_directory_that_is_not_there_is_named(system: System, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    code, output = await run("load-directory", "--directory", str(system.stack.directory), str(absent))
    assert code == 1
    assert f"{absent} is not a directory" in output
