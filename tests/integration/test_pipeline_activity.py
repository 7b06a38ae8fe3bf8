"""What the composed pipeline counts and when it was stale, as the monitor leaves it in SQL."""

import random

from shared.domain.instants import to_iso
from shared.events.codec import Draft
from shared.pipeline.ingest import StreamEvent
from shared.registry import keys
from tests.integration.pipeline_world import STALE_AFTER, TTL, World
from tests.redis_server import stream_rows

MINUTE = 60_000
ACTIVITY = """SELECT sum(heartbeats), sum(sessions_started), sum(sessions_expired), sum(sessions_left),
              max(unique_users) FROM facility_activity WHERE facility_id = 'f-1' AND granularity = 'day'"""


async def test_a_run_writes_what_was_counted_a_second_changes_nothing(world: World) -> None:
    world.time += MINUTE - world.time % MINUTE  # not across the end of a day
    await world.run_on(30_000, beats=["u-1"])
    await world.beat("u-1", leaving=True)
    await world.run_on(2 * MINUTE)
    for _ in range(2):
        await world.monitor.run()
        assert world.monitor_rows(ACTIVITY) == [(3, 1, 0, 1, 1)]
    minutes = world.monitor_rows("SELECT heartbeats FROM facility_activity WHERE granularity = 'minute'")
    assert sum(beats for (beats,) in minutes) == 3


async def test_batches_repeated_and_cut_otherwise_are_counted_once(world: World) -> None:
    order = random.Random(5)
    events, told = [], set[tuple[int, str]]()
    for number in range(60):
        world.advance(100)
        sessions = [f"s-{order.randrange(4)}" for _ in range(order.randrange(1, 4))]
        events.append(StreamEvent(world.event(*(Draft("u-1", session) for session in sessions)).body, number))
        told |= {(number, session) for session in sessions}  # a session's messages of one millisecond are one
    read = 0
    while read < len(events):
        first = max(0, read - order.randrange(6))
        last = min(len(events), read + order.randrange(1, 9))
        await world.ingest.apply(events[first:last], "0")
        read = last
    world.advance(2 * MINUTE)
    await world.monitor.run()
    [(beats, started, *_)] = world.monitor_rows(ACTIVITY)
    assert (beats, started) == (len(told), 4)


async def test_stale_periods_stand_in_sql_with_their_cause(world: World) -> None:
    await world.run_on(20_000, beats=["u-1"])
    world.publisher.held = {"0", "1"}
    await world.sweep_after(STALE_AFTER + 1_000)
    await world.sweep_after(1_000)
    [(stale, since)] = await world.announcements()
    assert stale
    await world.monitor.run()
    period = "SELECT started_at, ended_at, cause FROM stale_periods"
    assert world.monitor_rows(period) == [(to_iso(since), None, "stalled")]
    for partition in ("0", "1"):
        await world.publisher.release(partition)
    await world.run_on(TTL + 20_000, beats=["u-1"])
    stale, until = (await world.announcements())[-1]
    assert not stale
    assert (await stream_rows(world.redis, keys.CONTROL_STREAM))[-1]["began"] == str(since), "it says what it ends"
    for _ in range(2):
        await world.monitor.run()
        assert world.monitor_rows(period) == [(to_iso(since), to_iso(until), "stalled")]
