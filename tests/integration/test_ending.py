"""Sessions ended by command are over wherever they are."""

from dataclasses import replace

from shared.registry.keys import partition_of
from tests.integration.pipeline_world import DIRECTORY, World


async def test_a_session_is_over_at_a_facility_that_has_just_left_the_directory_too(world: World) -> None:
    await world.beat("u-9")
    left = {facility: entry for facility, entry in DIRECTORY.facilities.items() if facility != "f-3"}
    members = {**DIRECTORY.facilities_of_user, "u-9": ("f-2",)}
    await world.load_directory(replace(DIRECTORY, facilities=left, facilities_of_user=members))
    world.advance(1_000)
    await world.ending.end("u-9", "s")
    await world._settle()
    for facility in ("f-2", "f-3"):
        assert await world.registry.online_sessions_of([(facility, partition_of(facility))]) == [[]]
    assert await world.agents.get("u-9") is None
