"""What a loss of Redis data costs the session log and the counts of sessions: as docs/failures.md says, and no more."""

import pytest

from shared.domain.activity import Granularity
from shared.domain.instants import to_iso
from shared.requests import ActivityQuery
from tests.integration.pipeline_world import GRACE, TTL, World
from tests.integration.test_recovery import copy, go_back

DAY = 24 * 3_600_000
LOG = "SELECT user_id, started_at, ended_at, reason FROM session_log ORDER BY user_id"


async def started_and_ended(world: World, facility: str) -> tuple[int, int]:
    query = ActivityQuery.model_validate({"granularity": Granularity.DAY, "from": to_iso(world.time - DAY)})
    counts = [bucket.counts for bucket in await world.activity.buckets(facility, query)]
    return sum(each.started for each in counts), sum(each.expired + each.left + each.ended for each in counts)


@pytest.mark.parametrize("is_older", [False, True], ids=["gone", "older"])
async def test_sessions_online_at_a_loss_start_anew_in_the_log_or_are_missing_there(
    world: World, is_older: bool
) -> None:
    await world.run_on(60_000, beats=["u-1", "u-2"])
    await world.monitor.run()
    assert [await started_and_ended(world, each) for each in ("f-1", "f-2")] == [(1, 0), (1, 0)]
    older = await copy(world.redis) if is_older else {}
    await world.run_on(10_000, beats=["u-1", "u-2"])
    await world.monitor.run()
    await world.broadcaster.close()
    await go_back(world.redis, older)

    await world.sweep_after(1_000)
    heard_again = world.advance(1_000)
    await world.run_on(TTL + 20_000, beats=["u-1"])
    left = world.advance(1_000)
    await world.beat("u-1", leaving=True)
    await world.sweep_after(GRACE + 1_000)
    await world.monitor.run()
    assert world.monitor_rows(LOG) == [("u-1", to_iso(heard_again), to_iso(left + GRACE), "left")]
    assert await started_and_ended(world, "f-1") == (2, 1), "heard again: started twice"
    assert await started_and_ended(world, "f-2") == (1, 0), "not heard again: never ended"
    assert [row[:2] for row in world.monitor_rows("SELECT facility_id, status FROM facility_status ORDER BY 1")] == [
        ("f-1", "offline"),
        ("f-2", "offline"),
    ], "the facilities themselves are right"
    world.history_store.close()
