"""What is decided but not carried out: facilities that wait for the sweep, and large ones that take several calls."""

import pytest
from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.registry import Registry
from tests.integration.test_registry import TTL, T, beat, changes, registry

ONE, OTHER = "f-1", "f-34"
PARTITION = keys.partition_of(ONE)


@pytest.fixture
async def behind(redis: Redis) -> Registry:
    """The sweep has decided up to 100 s, and come as far as one of two facilities whose people were due at 90 s."""
    assert keys.partition_of(OTHER) == PARTITION
    system = registry(redis)
    await system.ingest([(ONE, beat("u-1", 0)), (OTHER, beat("u-2", 0))])
    assert (await system.sweep(PARTITION, T + 100_000, limit=1)).ended == 1
    return system


async def waiting(system: Registry) -> str:
    states = await system.facility_states([ONE, OTHER])
    (facility,) = [state.facility_id for state in states if state.sessions]
    return facility


async def test_an_absence_that_is_decided_is_told_though_its_person_is_back_before_the_sweep(
    redis: Redis, behind: Registry
) -> None:
    facility = await waiting(behind)
    user = "u-1" if facility == ONE else "u-2"
    assert (await behind.ingest([(facility, beat(user, 108_000))])).began == 1
    expected = [("online", 0, 1, "heartbeat"), ("offline", 90_000, 2, "expired"), ("online", 108_000, 3, "heartbeat")]
    assert await changes(redis, facility) == expected
    assert not (await behind.sweep(PARTITION, T + 120_000)).ended
    assert await changes(redis, facility) == expected


async def test_a_message_that_is_too_late_is_so_before_the_sweep_comes(redis: Redis, behind: Registry) -> None:
    facility = await waiting(behind)
    user = "u-1" if facility == ONE else "u-2"
    result = await behind.ingest([(facility, beat(user, 5_000))])
    assert (result.applied, result.late) == (0, 1)
    assert (await changes(redis, facility))[-1] == ("offline", 90_000, 2, "expired")


async def test_a_batch_that_began_a_session_before_keeps_it(redis: Redis, behind: Registry) -> None:
    facility = await waiting(behind)
    user = "u-1" if facility == ONE else "u-2"
    await behind.ingest([(facility, beat("u-3", 101_000)), (facility, beat(user, 108_000))])
    (state,) = await behind.facility_states([facility])
    assert (state.sessions, state.version) == (2, 3)
    assert [(status, since) for status, since, _, _ in await changes(redis, facility)] == [
        ("online", 0),
        ("offline", 90_000),
        ("online", 101_000),
    ]


async def test_a_large_facility_takes_several_calls_and_is_offline_only_with_its_last(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([(ONE, beat(f"u-{n}", n)) for n in range(2_500)])
    for left in (1_500, 500, 0):
        result = await system.sweep(PARTITION, T + 100_000)
        assert result.more == (left > 0)
        (state,) = await system.facility_states([ONE])
        assert state.sessions == left
        assert result.changes == (not left)
    assert (await changes(redis))[-1] == ("offline", TTL + 2_499, 2, "expired")


async def test_taking_keys_out_of_the_way_pauses_after_ten_thousand(redis: Redis) -> None:
    system = registry(redis)
    for user in range(12):
        await system.ingest([(ONE, beat(f"u-{user}-{n}", n)) for n in range(1_000)])
    await system.ingest([(OTHER, beat("u-2", 5_000))])
    assert await system.unlist(PARTITION, T + 100_000, 0, 500) == 1
    assert not await redis.exists(PARTITION.session(ONE, "u-0-0/s"))
    assert await system.unlist(PARTITION, T + 100_000, 1, 500) == 1
    assert await system.unlist(PARTITION, T + 100_000, 2, 500) == 0
