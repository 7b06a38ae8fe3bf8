"""Heartbeats from the stream into sessions: what is kept, what is set aside, what makes a batch come again."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityStatus
from shared.errors import DependencyUnavailableError, DirectoryMissingError
from shared.events.codec import Draft, encode_canary
from shared.pipeline.ingest import StreamEvent
from shared.registry import keys
from tests.integration.pipeline_world import World, make_world
from tests.redis_server import stream_rows


async def test_a_foreign_event_is_set_aside_with_its_reason_and_the_rest_is_applied(world: World) -> None:
    foreign = [b"\xff\xfe no JSON", b'{"temperature":21}', b'{"v":1,"sentAt":1,"beats":[["u-1","not an id"]]}']
    before, after = world.event(Draft("u-1", "a")), world.event(Draft("u-2", "b"))
    result = await world.ingest.apply(
        [before, *(StreamEvent(body, 40 + number) for number, body in enumerate(foreign)), after]
    )
    assert result.applied == 2
    assert [(row["source"], row["reason"], row["sequence_number"]) for row in await world.set_aside()] == [
        ("ingest", "the body is not JSON", "40"),
        ("ingest", "the body is not an object with v = 1", "41"),
        ("ingest", "a beat is broken: the session id has the wrong form", "42"),
    ]
    assert (await world.counters())["dead_letters"] == 3
    assert (await world.state("f-1")).status is FacilityStatus.ONLINE
    assert (await world.state("f-2")).status is FacilityStatus.ONLINE


async def test_an_unknown_user_is_kept_unassigned_and_counted(world: World) -> None:
    assert (await world.beat("stranger")).applied == 1
    assert (await world.counters())["unassigned"] == 1
    partition = keys.partition_of("", "stranger")
    assert await world.redis.hkeys(partition.sessions("")) == [b"stranger/s"]
    assert await world.redis.xlen(partition.changes) == 0


async def test_a_facility_that_is_not_the_users_gets_nothing_of_it(world: World) -> None:
    await world.beat("u-1", facility="f-2")
    assert (await world.state("f-2")).version == 0
    assert (await world.state("f-1")).version == 0, "a heartbeat that names a facility counts for no other"
    assert (await world.counters())["unassigned"] == 1


async def test_a_heartbeat_that_names_a_facility_counts_for_that_one_alone(world: World) -> None:
    await world.beat("u-9", "a", facility="f-3")
    assert (await world.state("f-2")).version == 0
    await world.beat("u-9", "b")
    assert [(await world.state(each)).sessions for each in ("f-2", "f-3")] == [1, 2]


async def test_without_any_directory_the_batch_fails_and_nothing_of_it_is_applied(redis: Redis, tmp_path: Path) -> None:
    world = make_world(redis, tmp_path)
    batch = [world.event(Draft("u-1", "s")), StreamEvent(encode_canary("0", world.time))]
    with pytest.raises(DirectoryMissingError):
        await world.ingest.apply(batch)
    assert await redis.exists(keys.INGESTED) == 0, "a canary vouched for a heartbeat that was not applied"
    assert await world.counters() == {}

    await world.load_directory()
    assert (await world.ingest.apply(batch)).applied == 1
    assert (await world.state("f-1")).status is FacilityStatus.ONLINE
    await world.close()


async def test_a_batch_given_again_changes_nothing(world: World) -> None:
    batch = [world.event(Draft("u-1", "s"), Draft("u-2", "s"))]
    await world.ingest.apply(batch)
    again = await world.ingest.apply(batch)
    assert (again.applied, again.duplicates, again.changes) == (0, 2, 0)
    assert await world.changes("f-1") == [("online", world.time, 1, "heartbeat")]


async def test_a_dependency_that_is_away_fails_the_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DependencyUnavailableError("redis")

    monkeypatch.setattr(world.registry, "ingest", away)
    batch = [world.event(Draft("u-1", "s")), StreamEvent(encode_canary("0", world.time))]
    with pytest.raises(DependencyUnavailableError):
        await world.ingest.apply(batch)
    assert await world.redis.exists(keys.INGESTED) == 0


async def test_what_changed_is_pushed_to_the_regions_of_the_facilities(world: World) -> None:
    await world.beat("u-9")
    pushed = {
        (message["regionId"], change["facilityId"], change["status"])
        for message in await world.deliver()
        for change in message["changes"]
    }
    assert pushed == {("r-1", "f-2", "online"), ("r-2", "f-3", "online")}


async def test_ingest_sweeps_when_nobody_else_has_for_a_while(world: World) -> None:
    """The timer's holder may have died."""
    await world.sweep_after(0)
    world.advance(1_300)
    await world.beat("u-1")
    async with asyncio.timeout(10):
        while await world.swept_at() != world.time:
            await asyncio.sleep(0.01)


async def test_ended_sessions_reach_their_stream_once(world: World) -> None:
    await world.beat("u-1")
    started = world.time
    await world.beat("u-1", leaving=True)
    await world.sweep_after(6_000)
    await world.sweep_after(6_000)
    [row] = await stream_rows(world.redis, keys.partition_of("f-1").ended)
    assert (row["id"], row["started"], row["ended"], row["reason"]) == (
        "u-1/s",
        str(started),
        str(started + 5_000),
        "left",
    )
