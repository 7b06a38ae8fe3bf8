"""Single rules of the scripts, each where the property test would only find it now and then."""

import time

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityState, FacilityStatus
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import EndedSession, EndReason, SessionTiming
from shared.registry import keys
from shared.registry.directory_cache import Departure
from shared.registry.registry import Registry
from shared.registry.results import UNASSIGNED
from tests.redis_server import stream_rows

TTL, GRACE = 90_000, 5_000
T = 1_000_000


def registry(client: Redis) -> Registry:
    return Registry(client, SessionTiming(TTL, GRACE))


def beat(user: str, at: int, *, session: str = "s", leaving: bool = False) -> Heartbeat:
    return Heartbeat(user, session, T + at, leaving=leaving)


async def sweep(system: Registry, watermark: int, hold_until: int = 0) -> int:
    ended = 0
    for partition in keys.ALL_PARTITIONS:
        ended += (await system.sweep(partition, T + watermark, hold_until=hold_until)).ended
    return ended


async def changes(client: Redis, facility: str = "f-1") -> list[tuple[str, int, int, str]]:
    """(status, since - T, version, reason)"""
    found = await stream_rows(client, keys.partition_of(facility).changes)
    return [
        (r["status"], int(r["since"]) - T, int(r["version"]), r["reason"]) for r in found if r["facility"] == facility
    ]


async def test_two_sessions_of_a_facility_are_one_change(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-2", 5))])
    await system.ingest([("f-1", beat("u-1", 100, leaving=True))])
    assert await sweep(system, 60_000) == 1
    assert await changes(redis) == [("online", 0, 1, "heartbeat")]
    (state,) = await system.facility_states(["f-1"])
    assert (state.status, state.sessions, state.last_seen) == (FacilityStatus.ONLINE, 1, T + 5)


async def test_a_page_reload_does_not_flap(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    await system.ingest([("f-1", beat("u-1", 10_000, leaving=True)), ("f-1", beat("u-1", 11_500, session="new"))])
    await sweep(system, 16_000)
    assert await changes(redis) == [("online", 0, 1, "heartbeat")]


async def test_the_offline_time_is_the_deadline_and_the_reason_that_of_the_last_end(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest(
        [("f-1", beat("u-1", 0)), ("f-1", beat("u-2", 88_000)), ("f-1", beat("u-2", 89_000, leaving=True))]
    )
    await sweep(system, 300_000)
    assert await changes(redis) == [("online", 0, 1, "heartbeat"), ("offline", 94_000, 2, "left")]


async def test_a_gap_of_five_seconds_between_two_sessions_is_told_though_seen_late(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-2", 95_000))])
    await sweep(system, 96_000)
    assert await changes(redis) == [
        ("online", 0, 1, "heartbeat"),
        ("offline", 90_000, 2, "expired"),
        ("online", 95_000, 3, "heartbeat"),
    ]


async def test_a_shorter_gap_is_left_out(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-2", 94_999))])
    await sweep(system, 96_000)
    assert await changes(redis) == [("online", 0, 1, "heartbeat")]


async def test_a_repeated_batch_after_the_end_brings_nothing_back(redis: Redis) -> None:
    system = registry(redis)
    batch = [("f-1", beat("u-1", 0)), ("f-1", beat("u-1", 1_000, leaving=True))]
    await system.ingest(batch)
    await sweep(system, 10_000)
    result = await system.ingest(batch)
    assert (result.applied, result.duplicates) == (0, 2)
    assert len(await changes(redis)) == 2


async def test_a_session_ended_by_command_stays_ended_for_messages_up_to_its_time(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    ended = await system.end_session("u-1", "s", ["f-1"], T + 500, T + 60_000)
    assert (ended.ended, ended.changes) == (1, 1)
    assert (await system.ingest([("f-1", beat("u-1", 60_000))])).ended == 1
    assert (await system.ingest([("f-1", beat("u-1", 60_001))])).applied == 1
    assert [row[0] for row in await changes(redis)] == ["online", "offline", "online"]


async def test_ending_an_unknown_session_changes_nothing(redis: Redis) -> None:
    result = await registry(redis).end_session("u-1", "nope", ["f-1"], T, T + 1)
    assert (result.ended, result.changes) == (0, 0)


async def test_unassigned_sessions_are_kept_and_never_announced(redis: Redis) -> None:
    system = registry(redis)
    assert (await system.ingest([(UNASSIGNED, beat("stranger", 0))])).applied == 1
    assert await sweep(system, 200_000) == 1
    partition = keys.partition_of(UNASSIGNED, "stranger")
    assert await redis.xlen(partition.changes) == 0
    assert await redis.xlen(partition.ended) == 1


async def test_the_session_list_and_the_value_list_move_together(redis: Redis) -> None:
    system = registry(redis)
    partition = keys.partition_of("f-1")
    start = time.time_ns() // 1_000_000  # keys expire by the clock of Redis
    await system.ingest([("f-1", Heartbeat("u-1", "s", start))])
    key = partition.session("f-1", "u-1/s")
    assert await redis.pexpiretime(key) == start + TTL + 5_000
    assert await redis.hkeys(partition.sessions("f-1")) == [b"u-1/s", keys.HEARD.encode()]

    await system.ingest([("f-1", Heartbeat("u-1", "s", start + 30_000))])
    assert await redis.pexpiretime(key) == start + TTL + 5_000, "renewals do not pay for it"
    await system.sweep_facility("f-1", partition, start + TTL)
    assert await redis.pexpiretime(key) == start + 30_000 + TTL + 5_000, "who comes by when it is time moves it"
    await system.ingest([("f-1", Heartbeat("u-1", "s", start + 35_000))])
    await system.sweep_facility("f-1", partition, start + TTL + 1)
    assert await redis.pexpiretime(key) == start + 30_000 + TTL + 5_000, "and nobody before"
    assert await system.next_due("f-1", partition) == start + 30_000 + TTL

    await system.ingest([("f-1", Heartbeat("u-1", "s", start + 40_000, leaving=True))])
    assert await redis.pexpiretime(key) == start + 40_000 + GRACE + 500
    assert (await system.sweep_facility("f-1", partition, start + 40_000 + GRACE)).ended == 1
    assert await redis.exists(key) == 0


async def test_a_value_leaves_only_when_logged_and_beyond_any_repetition(redis: Redis) -> None:
    system = registry(redis)
    values = keys.partition_of("f-1").sessions("f-1")
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-1", 1_000, leaving=True))])
    await sweep(system, 10_000)
    await sweep(system, 400_000)
    assert await redis.hexists(values, "u-1/s"), "not logged yet"
    logged = EndedSession("u-1", "s", "f-1", T, T + 6_000, EndReason.LEFT)
    assert await system.purge([logged]) == 1
    assert await redis.hkeys(values) == [keys.HEARD.encode()]


async def test_a_logged_value_waits_for_the_sweep_when_a_repetition_could_still_come(redis: Redis) -> None:
    system = registry(redis)
    values = keys.partition_of("f-1").sessions("f-1")
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-1", 1_000, leaving=True))])
    await sweep(system, 10_000)
    assert await system.purge([EndedSession("u-1", "s", "f-1", T, T + 6_000, EndReason.LEFT)]) == 0
    await sweep(system, 95_999)
    assert await redis.hexists(values, "u-1/s")
    await sweep(system, 96_000)
    assert await redis.hkeys(values) == [keys.HEARD.encode()]


async def test_whom_a_hold_put_off_is_looked_at_when_it_is_over_before_its_time(redis: Redis) -> None:
    system = registry(redis)
    # A goodbye without a session is remembered for a TTL, which is over before the hold.
    await system.ingest([("f-1", beat("u-1", 0)), ("f-1", beat("u-2", 50_000, leaving=True)), ("f-2", beat("u-3", 0))])
    assert await sweep(system, 95_000, hold_until=T + 300_000) == 0
    await system.look_again(T + 300_000, T + 95_000)
    assert await sweep(system, 95_000) == 2, "also where something else is to be looked at sooner"


async def test_no_more_facilities_than_asked_for_are_visited_at_once_and_none_is_passed_over(redis: Redis) -> None:
    system = registry(redis)
    facilities = [f"f-{n}" for n in range(2_000)]
    there = [each for each in facilities if keys.partition_of(each).number == 0]
    await system.ingest([(facility, beat("u-1", 0)) for facility in there])
    ended, calls, more = 0, 0, True
    while more:
        result = await system.sweep(keys.ALL_PARTITIONS[0], T + 100_000, limit=50)
        assert result.ended <= 50
        ended, calls, more = ended + result.ended, calls + 1, result.more
    assert ended == len(there)
    assert len(there) / 50 <= calls <= len(there) / 50 + 2


async def test_a_hint_of_an_unassigned_session_visits_nobody_else(redis: Redis) -> None:
    system = registry(redis)
    partition = keys.partition_of(UNASSIGNED, "stranger")
    facility = next(each for n in range(100) if keys.partition_of(each := f"f-{n}") == partition)
    await system.ingest([(UNASSIGNED, beat("stranger", 0)), (facility, beat("u-1", 0))])
    assert (await system.sweep_facility(UNASSIGNED, partition, T + 100_000)).ended == 1
    assert await redis.get(partition.watermark) is None, "for the others nothing is decided"
    assert await changes(redis, facility) == [("online", 0, 1, "heartbeat")]


async def test_what_is_barred_is_not_heard(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    await system.end_session("u-1", "s", ["f-1"], T + 500, T + 60_000)
    await system.ingest([("f-1", beat("u-1", 30_000))])
    [state] = await system.facility_states(["f-1"])
    assert state.last_seen == T


async def test_users_of_a_facility_are_attested_in_one_reading(redis: Redis) -> None:
    system = registry(redis)
    users = [f"u-{n}" for n in range(300)]
    await system.ingest([("f-1", beat(user, 0)) for user in users])
    await redis.config_resetstat()
    assert await system.attest([("f-1", user) for user in users], T) == 300
    statistics = await redis.info("commandstats")
    assert statistics["cmdstat_hgetall"]["calls"] == 1


async def test_whoever_goes_on_after_a_loss_makes_no_gap(redis: Redis) -> None:
    system = registry(redis)
    states = [FacilityState(each, FacilityStatus.ONLINE, since=T, version=4, sessions=1) for each in ("f-1", "f-2")]
    await system.restore(states, T + 1_000, version_jump=1_000)
    await system.ingest([("f-1", beat("u-1", 26_000))])
    assert await sweep(system, 100_000) == 2
    assert await changes(redis) == []
    [told] = await changes(redis, "f-2")
    assert told[:2] == ("offline", 1_000)


async def test_during_a_hold_only_those_who_left_end(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0)), ("f-2", beat("u-2", 0)), ("f-2", beat("u-2", 1_000, leaving=True))])
    assert await sweep(system, 200_000, hold_until=T + 250_000) == 1
    assert [row[0] for row in await changes(redis, "f-2")] == ["online", "offline"]
    assert [row[0] for row in await changes(redis, "f-1")] == ["online"]
    assert await sweep(system, 251_000) == 1
    assert (await changes(redis, "f-1"))[-1] == ("offline", 90_000, 2, "expired")


async def test_a_mass_end_is_worked_off_in_bounded_steps(redis: Redis) -> None:
    system = registry(redis)
    partition = keys.partition_of("f-1")
    members = [f"m-{n}" for n in range(4_000) if keys.partition_of(f"m-{n}") == partition]
    await system.ingest([(facility, beat("u-1", index)) for index, facility in enumerate(members)])
    first = await system.sweep(partition, T + 200_000, limit=50)
    assert (first.ended, first.more) == (50, True)
    rest = 0
    more = True
    while more:
        result = await system.sweep(partition, T + 200_000, limit=50)
        rest, more = rest + result.ended, result.more
    assert rest == len(members) - 50


async def test_each_facility_is_visited_once_however_its_deadlines_mix_with_those_of_others(redis: Redis) -> None:
    system = registry(redis)
    partition = keys.partition_of("f-1")
    members = [f"m-{n}" for n in range(4_000) if keys.partition_of(f"m-{n}") == partition]
    await system.ingest(
        [(each, beat(f"u-{n}", (n * 997 + index * 13) % 5_000)) for index, each in enumerate(members) for n in range(9)]
    )
    await redis.config_resetstat()
    ended, more = 0, True
    while more:
        result = await system.sweep(partition, T + 200_000, limit=50)
        ended, more = ended + result.ended, result.more
    assert ended == 9 * len(members)
    assert (await redis.info("commandstats"))["cmdstat_hgetall"]["calls"] == len(members)


async def test_many_sessions_at_few_facilities_are_worked_off_in_bounded_steps_too(redis: Redis) -> None:
    system = registry(redis)
    partition = keys.partition_of("f-1")
    members = [f"m-{n}" for n in range(200) if keys.partition_of(f"m-{n}") == partition][:4]
    await system.ingest([(facility, beat(f"u-{n}", n)) for facility in members for n in range(600)])
    first = await system.sweep(partition, T + 200_000)
    assert (first.ended, first.more) == (1_200, True), "two facilities"
    assert (await system.sweep(partition, T + 200_000)).ended == 1_200
    assert await redis.get(partition.watermark) == str(T + 200_000).encode()


@pytest.mark.parametrize("hold_until", [0, T + 300_000])
async def test_what_is_forgotten_cannot_be_begun_anew_by_a_message_given_again(redis: Redis, hold_until: int) -> None:
    system = registry(redis)
    partition = keys.partition_of("f-1")
    others = [each for n in range(4_000) if keys.partition_of(each := f"o-{n}") == partition][:120]
    gone = [("f-1", beat("gone", 0)), ("f-1", beat("gone", 1_000, leaving=True))]
    await system.ingest([*gone, ("f-1", beat("other", -5_000)), *((each, beat("u", -4_999)) for each in others)])
    await sweep(system, 10_000)
    await system.purge([EndedSession("gone", "s", "f-1", T, T + 6_000, EndReason.LEFT)])
    assert (await system.sweep(partition, T + 96_500, limit=50, hold_until=hold_until)).more
    again = await system.ingest(gone)
    assert (again.began, again.changes) == (0, 0)


async def test_only_of_facilities_that_are_due_the_session_list_is_taken_away(redis: Redis) -> None:
    system = registry(redis)
    now = time.time_ns() // 1_000_000  # keys expire by the clock of Redis
    partition = keys.partition_of("f-1")
    other = next(each for n in range(100) if keys.partition_of(each := f"o-{n}") == partition)
    await system.ingest([("f-1", Heartbeat("u-1", "s", now - TTL)), (other, Heartbeat("u-2", "s", now))])
    assert await system.unlist(partition, now, 0, 10) == 1
    assert await system.unlist(partition, now, 1, 10) == 0
    assert await redis.exists(partition.session("f-1", "u-1/s")) == 0
    assert await redis.exists(partition.session(other, "u-2/s")) == 1
    assert (await system.sweep(partition, now)).ended == 1, "what decides is still there"


async def test_a_facility_that_leaves_its_region_is_numbered_as_removed(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    await system.depart([Departure("f-1", "r-1", moved=True)], T + 50)
    assert await changes(redis) == [
        ("online", 0, 1, "heartbeat"),
        ("removed", 0, 2, "removed"),
        ("online", 0, 3, "heartbeat"),
    ], "`since` never goes back"
    rows = await stream_rows(redis, keys.partition_of("f-1").changes)
    assert [row.get("again") for row in rows] == [None, None, "1"], "it was told before"


async def test_a_facility_that_is_gone_leaves_at_that_moment(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    await system.depart([Departure("f-1", "r-1", moved=False), Departure("f-2", "r-1", moved=False)], T + 50)
    assert await changes(redis) == [("online", 0, 1, "heartbeat"), ("removed", 50, 2, "removed")]
    assert await changes(redis, "f-2") == [("removed", 50, 1, "removed")]
    (never_online,) = await system.facility_states(["f-2"])
    assert (never_online.status, never_online.since, never_online.reason) == ("offline", None, None)
    await system.ingest([("f-2", beat("u-1", 60))])
    assert (await changes(redis, "f-2"))[1:] == [("online", 60, 2, "heartbeat")], "no version is used twice"


async def test_a_facility_that_returns_to_the_directory_is_told_as_it_is(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([("f-1", beat("u-1", 0))])
    await system.depart([Departure("f-1", "r-1", moved=False)], T + 50)
    assert await system.depart([Departure("f-1", "", moved=True), Departure("f-2", "", moved=True)], T + 60) == 1
    assert (await changes(redis))[1:] == [("removed", 50, 2, "removed"), ("online", 0, 3, "heartbeat")]
    assert await changes(redis, "f-2") == [], "there is nothing to tell of one that was never online"


async def test_restored_facilities_jump_ahead_and_end_at_the_loss_unless_heard(redis: Redis) -> None:
    system = registry(redis)
    await system.ingest([(f"f-{n}", beat("u-1", n)) for n in (1, 2)])
    states = await system.facility_states(["f-1", "f-2"])
    await redis.flushall()
    assert await system.restore(states, T + 10_000, version_jump=1_000) == 2
    await system.ingest([("f-2", beat("u-1", 12_000))])
    await sweep(system, 90_000, hold_until=T + 100_000)
    assert await changes(redis) == []
    await sweep(system, 101_000)
    assert await changes(redis) == [("offline", 10_000, 1_002, "expired")]
    assert await changes(redis, "f-2") == []
    assert await redis.xlen(keys.partition_of("f-1").ended) == 0, "the nameless presence is not a session"


async def test_those_online_are_told_place_by_place(redis: Redis) -> None:
    system = registry(redis)
    restored = FacilityState("f-3", FacilityStatus.ONLINE, T, 1, reason="heartbeat")
    await system.restore([restored], T, version_jump=1_000)
    await system.ingest(
        [
            ("f-1", beat("u-1", 0)),
            ("f-1", beat("u-1", 0, session="t")),
            ("f-1", beat("gone", 0)),
            ("f-1", beat("gone", 1, leaving=True)),
            (UNASSIGNED, beat("stranger", 0)),
        ]
    )
    await sweep(system, GRACE + 2)
    await system.ingest([("f-1", beat("unheard", 1, leaving=True))])
    places = [(facility, keys.partition_of(facility)) for facility in ("f-3", "f-2", "f-1")]
    places.append((UNASSIGNED, keys.partition_of(UNASSIGNED, "stranger")))
    *empty, at_one, nowhere = await system.online_sessions_of(places)
    assert empty == [[], []], "a nameless session is nobody's"
    assert sorted(at_one) == [("u-1", "s"), ("u-1", "t")]
    assert nowhere == [("stranger", "s")]
    assert await system.online_sessions_of([]) == []
