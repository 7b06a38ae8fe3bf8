"""Alerts: after the delay, once per cool-down, with the recovery; none for what was never there or is gone."""

import pytest
from redis.asyncio import Redis

from shared.domain.alert import AlertState, AnnouncedAlert
from shared.domain.facility import FacilityState, FacilityStatus
from shared.registry import keys
from shared.registry.directory_cache import Departure
from tests.integration.alert_world import AFTER, COOLDOWN, TTL, T, World

OFFLINE = TTL
"""When a facility heard once, at 0, is offline."""
DUE = OFFLINE + AFTER


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis)
    await world.publish()
    return world


async def test_a_facility_is_announced_when_it_was_offline_for_so_long_and_only_once(world: World) -> None:
    await world.heard("f-1", 0)
    assert await world.announce(DUE - 1) == []
    assert await world.announce(DUE) == [("f-1", "offline", OFFLINE)]
    assert await world.announce(DUE + 2 * COOLDOWN) == []


async def test_a_facility_that_is_back_in_time_is_not_announced_nor_is_its_return(world: World) -> None:
    await world.heard("f-1", 0)
    await world.swept(DUE - 5)
    await world.heard("f-1", DUE - 4)
    assert await world.announce(DUE) == []
    assert await world.announce(DUE + 1) == []


async def test_the_return_of_an_announced_facility_is_announced_once(world: World) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    await world.heard("f-1", DUE + 7)
    assert await world.announce(DUE + 8) == [("f-1", "recovered", DUE + 7)]
    assert await world.announce(DUE + 9) == []


async def test_within_the_cool_down_nothing_is_said_and_after_it_what_is_still_offline_is(world: World) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    back = DUE + 10
    await world.heard("f-1", back)
    assert len(await world.announce(back)) == 1
    gone = back + TTL
    assert await world.announce(gone + AFTER) == [], "the cool-down of the first alert lasts"
    assert await world.announce(gone + AFTER + COOLDOWN // 2) == []
    # The cool-down is Redis's own clock; this is it being over.
    await world.redis.delete(keys.partition_of("f-1").alert_cooldown("f-1"))
    assert await world.announce(gone + AFTER + COOLDOWN + 1) == [("f-1", "offline", gone)]


async def test_an_unannounced_offline_has_no_recovery(world: World) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    await world.heard("f-1", DUE + 10)
    await world.announce(DUE + 10)
    await world.swept(DUE + 10 + TTL)
    assert await world.announce(DUE + 10 + TTL + AFTER) == [], "suppressed by the cool-down"
    await world.heard("f-1", DUE + 20 + TTL + AFTER)
    assert await world.announce(DUE + 21 + TTL + AFTER) == []


async def test_without_a_cool_down_every_long_absence_is_announced(redis: Redis) -> None:
    world = World(redis, cooldown=0)
    await world.publish()
    await world.heard("f-1", 0)
    assert len(await world.announce(DUE)) == 1
    await world.heard("f-1", DUE)
    assert await world.announce(DUE) == [("f-1", "recovered", DUE)]
    assert await world.announce(DUE + TTL + AFTER) == [("f-1", "offline", DUE + TTL)]


async def test_a_return_that_could_not_be_announced_before_the_next_absence_is_none(world: World) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    # While the pipeline is stale nothing is announced: back, and gone again.
    await world.heard("f-1", DUE + 10)
    await world.swept(DUE + 10 + TTL)
    assert await world.announce(DUE + 20 + TTL) == []
    await world.heard("f-1", DUE + 30 + TTL)
    assert await world.announce(DUE + 40 + TTL) == [("f-1", "recovered", DUE + 30 + TTL)]


async def test_a_facility_that_was_never_online_is_not_announced(world: World) -> None:
    await world.heard("f-1", 0)
    alerts = await world.announce(DUE + 10 * COOLDOWN)
    assert {facility for facility, _, _ in alerts} == {"f-1"}


async def test_a_removed_facility_is_not_announced(world: World) -> None:
    for facility in ("f-8", "f-9"):
        await world.heard(facility, 0)
    await world.swept(OFFLINE)
    await world.publish(facilities=9)
    await world.registry.depart([Departure("f-9", "r-1", moved=False)], T + OFFLINE + 1)
    assert await world.announce(DUE) == [("f-8", "offline", OFFLINE)]


async def test_a_facility_removed_while_online_is_not_announced_either(world: World) -> None:
    await world.heard("f-9", 0)
    await world.publish(facilities=9)
    await world.registry.depart([Departure("f-9", "r-1", moved=False)], T + 1)
    assert await world.announce(DUE) == []
    assert await world.redis.exists(keys.partition_of("f-9").offline) == 0, "nothing is left behind"


async def test_a_facility_that_moves_is_not_announced_again(world: World) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    await world.registry.depart([Departure("f-1", "r-2", moved=True)], T + DUE + 1)
    await world.redis.delete(keys.partition_of("f-1").alert_cooldown("f-1"))
    assert await world.announce(DUE + COOLDOWN) == []
    await world.heard("f-1", DUE + COOLDOWN)
    assert len(await world.announce(DUE + COOLDOWN)) == 1, "its return is"


async def test_unassigned_sessions_raise_no_alert(world: World) -> None:
    await world.heard("", 0)
    assert await world.announce(DUE) == []


async def test_after_a_loss_of_data_what_was_due_counts_as_announced(world: World) -> None:
    states = [
        FacilityState("f-1", FacilityStatus.OFFLINE, T, 4, reason="left"),
        FacilityState("f-2", FacilityStatus.OFFLINE, T + AFTER, 4, reason="left"),
        FacilityState("f-3", FacilityStatus.ONLINE, T, 3, reason="heartbeat"),
    ]
    loss = AFTER + 1_000
    await world.registry.restore(states, T + loss, version_jump=1_000)
    await world.alerts.restore(states, [], T + loss)
    assert await world.announce(2 * AFTER) == [("f-2", "offline", AFTER)]
    for facility in ("f-1", "f-2"):
        await world.heard(facility, 2 * AFTER + 1)
    assert sorted(await world.announce(2 * AFTER + 2)) == [
        ("f-1", "recovered", 2 * AFTER + 1),
        ("f-2", "recovered", 2 * AFTER + 1),
    ]


async def lose(world: World, states: list[FacilityState], alerts: list[AnnouncedAlert], at: int) -> None:
    """Redis is empty at that moment, SQL knows these."""
    await world.registry.restore(states, T + at, version_jump=1_000)
    await world.alerts.restore(states, alerts, T + at)


async def cool_down(world: World, facility: str) -> float:
    """Returns the ms left of a facility's cool-down, 0 without any."""
    return max(0, await world.redis.pttl(keys.partition_of(facility).alert_cooldown(facility)))


async def test_after_a_loss_of_data_a_cool_down_lasts_as_long_as_it_would_have(world: World) -> None:
    states = [
        FacilityState("f-1", FacilityStatus.ONLINE, T + 50_000, 3, reason="heartbeat"),
        FacilityState("f-2", FacilityStatus.OFFLINE, T, 2, reason="left"),
        FacilityState("f-3", FacilityStatus.ONLINE, T + 50_000, 3, reason="heartbeat"),
    ]
    told = [
        AnnouncedAlert("f-1", AlertState.OFFLINE, T, T + 40_000),
        AnnouncedAlert("f-1", AlertState.RECOVERED, T + 50_000, T + 51_000),
        AnnouncedAlert("f-3", AlertState.OFFLINE, T - COOLDOWN, T + 60_000 - COOLDOWN),
        AnnouncedAlert("f-3", AlertState.RECOVERED, T + 50_000, T + 51_000),
    ]
    await lose(world, states, told, 60_000)
    assert COOLDOWN - 20_000 - 10_000 < await cool_down(world, "f-1") <= COOLDOWN - 20_000
    assert COOLDOWN - 30_000 - 10_000 < await cool_down(world, "f-2") <= COOLDOWN - 30_000, "announced when it was due"
    assert await cool_down(world, "f-3") == 0, "it was over"
    await world.swept(60_000)
    assert await world.announce(60_000 + AFTER) == [("f-3", "offline", 60_000)]


async def test_after_a_loss_of_data_what_a_cool_down_held_back_still_waits_for_its_end(world: World) -> None:
    states = [FacilityState("f-1", FacilityStatus.OFFLINE, T + 60_000, 4, reason="left")]
    told = [
        AnnouncedAlert("f-1", AlertState.OFFLINE, T, T + AFTER),
        AnnouncedAlert("f-1", AlertState.RECOVERED, T + 50_000, T + 51_000),
    ]
    await lose(world, states, told, 100_000)
    assert await world.announce(100_001) == []
    await world.redis.delete(keys.partition_of("f-1").alert_cooldown("f-1"))
    assert await world.announce(T + COOLDOWN) == [("f-1", "offline", 60_000)]


async def test_after_a_loss_of_data_a_return_that_nobody_was_told_of_is_told(world: World) -> None:
    states = [FacilityState("f-1", FacilityStatus.ONLINE, T + 50_000, 3, reason="heartbeat")]
    await lose(world, states, [AnnouncedAlert("f-1", AlertState.OFFLINE, T, T + AFTER)], 60_000)
    assert await world.alerts.announce(T + 61_000) == 1
    assert await world.alerted() == [("f-1", "recovered", 50_000)]
