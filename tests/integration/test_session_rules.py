"""The scripts against the oracle: any messages, any order, any watermark, on a real server."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.domain.heartbeat import Heartbeat
from shared.domain.session import EndedSession, EndReason, SessionTiming
from shared.registry import keys
from shared.registry.client import text
from shared.registry.registry import Registry
from tests.oracle import Oracle
from tests.redis_server import stream_rows
from tests.soak import size

TTL, GRACE = 8_000, 3_000
WINDOW = TTL * 2 // 3
START = 1_000_000
FACILITIES = ["f-1", "f-34", "lab.3"]
"""The first two share a partition, and so the sweep's turns."""
SESSIONS = ["u-1/a", "u-1/b", "u@x|y/long-session-id"]

# Moments are relative to the watermark, so that every plan visits the interesting neighbourhood of deadlines.
offsets = st.integers(-6, 24).map(lambda step: step * 1_000)
strides = st.integers(0, 12).map(lambda step: step * 1_000)


@dataclass(frozen=True)
class Hear:
    facility: str
    session: str
    offset: int
    leaving: bool


@dataclass(frozen=True)
class Advance:
    by: int
    held: bool = False


@dataclass(frozen=True)
class Glance:
    """The sweep comes as far as one facility of each partition; the others wait for their turn."""

    by: int


@dataclass(frozen=True)
class End:
    session: str
    offset: int


@dataclass(frozen=True)
class Log:
    """SQL takes the ended sessions over."""


rarely = st.integers(0, 3).map(lambda n: n == 0)
messages = st.builds(Hear, st.sampled_from(FACILITIES), st.sampled_from(SESSIONS), offsets, rarely)
steps = st.lists(
    st.one_of(
        messages,
        messages,
        messages,
        st.builds(Advance, strides, st.sampled_from([False, False, True])),
        st.builds(Glance, strides),
        st.builds(End, st.sampled_from(SESSIONS), offsets),
        st.just(Log()),
    ),
    max_size=40,
)


class System:
    """The registry under test, told the same as the oracle."""

    def __init__(self, client: Redis, limit: int) -> None:
        self.client = client
        self.limit = limit
        self.registry = Registry(client, SessionTiming(TTL, GRACE))
        self.watermark = START
        self.held_until = 0

    async def hear(self, batch: list[Hear]) -> None:
        placed = []
        for message in batch:
            user, session = message.session.split("/")
            placed.append(
                (message.facility, Heartbeat(user, session, self.watermark + message.offset, leaving=message.leaving))
            )
        result = await self.registry.ingest(placed)
        assert result.applied + result.duplicates + result.late + result.ended == len(batch)

    async def advance(self, by: int, *, held: bool = False) -> None:
        self.watermark += by
        if self.held_until and not held:
            await self.registry.look_again(self.held_until, self.watermark)
            self.held_until = 0
        elif held and not self.held_until:
            self.held_until = self.watermark + 1_000_000
        for partition in keys.ALL_PARTITIONS:
            while (
                await self.registry.sweep(partition, self.watermark, limit=self.limit, hold_until=self.held_until)
            ).more:
                pass

    async def glance(self, by: int) -> list[str]:
        """Returns the facilities that had their turn."""
        self.watermark += by
        visited = []
        for partition in {keys.partition_of(facility) for facility in FACILITIES}:
            first = await self.client.zrange(partition.deadlines, "-inf", self.watermark, byscore=True, offset=0, num=1)
            visited += [text(facility) for facility in first]
            await self.registry.sweep(partition, self.watermark, limit=1, hold_until=self.held_until)
        return visited

    async def end(self, session: str, offset: int) -> None:
        user, session_id = session.split("/")
        now = self.watermark + offset
        await self.registry.end_session(user, session_id, FACILITIES, now, now + 30_000)

    async def log(self) -> None:
        await self.registry.purge(
            [
                EndedSession(i.split("/")[0], i.split("/")[1], f, s, e, EndReason(r))
                for f, i, s, e, r in await self.ended()
            ]
        )

    async def transitions(self) -> list[tuple[str, str, int, int, str]]:
        rows = [row for each in keys.ALL_PARTITIONS for row in await stream_rows(self.client, each.changes)]
        return [(r["facility"], r["status"], int(r["since"]), int(r["version"]), r["reason"]) for r in rows]

    async def ended(self) -> list[tuple[str, str, int, int, str]]:
        rows = [row for each in keys.ALL_PARTITIONS for row in await stream_rows(self.client, each.ended)]
        return [(r["facility"], r["id"], int(r["started"]), int(r["ended"]), r["reason"]) for r in rows]


def batches(plan: list[Hear | Advance | Glance | End | Log]) -> Iterator[list[Hear] | Advance | Glance | End | Log]:
    """Gives runs of messages as one batch each, as the Event Hubs trigger would."""
    run: list[Hear] = []
    for step in plan:
        if isinstance(step, Hear):
            run.append(step)
            continue
        if run:
            yield run
            run = []
        yield step
    if run:
        yield run


def by_facility(transitions: list[tuple[str, str, int, int, str]]) -> list[tuple[str, str, int, int, str]]:
    return sorted(transitions, key=lambda t: (t[0], t[3]))


@pytest.mark.soak
@settings(max_examples=size(150, 3_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, limit=st.sampled_from([1, 2, 500]))
async def test_states_transitions_and_log_equal_the_oracles(
    redis: Redis, plan: list[Hear | Advance | Glance | End | Log], limit: int
) -> None:
    await redis.flushall()
    oracle, system = Oracle(TTL, GRACE, START), System(redis, limit)
    await system.advance(0)  # the watermark of Redis is the oracle's from the beginning
    for step in batches(plan):
        match step:
            case list():
                for message in step:
                    at = system.watermark + message.offset
                    oracle.hear(message.facility, message.session, at, leaving=message.leaving)
                await system.hear(step)
            case Advance(by, held):
                await system.advance(by, held=held)
                oracle.advance(system.watermark, held=held)
            case Glance(by):
                visited = await system.glance(by)
                oracle.reach(system.watermark, held=bool(system.held_until))
                for facility in visited:
                    oracle.advance_one(facility, system.watermark, held=bool(system.held_until))
            case End(session, offset):
                now = system.watermark + offset
                oracle.end(session, FACILITIES, now, now + 30_000)
                await system.end(session, offset)
            case Log():
                await system.log()
        heard_after = system.watermark - WINDOW
        census = await system.registry.census(system.watermark, heard_after)
        assert (census.online, census.heard, census.due) == oracle.census(system.watermark, heard_after)

    assert by_facility(await system.transitions()) == by_facility(oracle.transitions)
    ended = await system.ended()
    assert set(ended) == oracle.log
    assert len(ended) == len(oracle.log), "an end was decided twice"
    for state in await system.registry.facility_states(FACILITIES):
        expected = oracle.facilities.get(state.facility_id)
        assert state.version == (expected.version if expected else 0)
        assert state.sessions == len(oracle.online(state.facility_id))
        assert (state.status == "online") == bool(expected and expected.online)


ORDERED = st.lists(
    st.builds(
        Hear, st.sampled_from(FACILITIES), st.sampled_from(SESSIONS), st.integers(0, 7).map(lambda n: n * 1_000), rarely
    ),
    max_size=12,
)
"""Messages of less than a TTL, all ingested before the watermark passes any of their deadlines."""


@pytest.mark.soak
@settings(max_examples=size(50, 1_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=ORDERED, data=st.data())
async def test_in_whatever_order_messages_come_the_same_sessions_begin_and_end(
    redis: Redis, messages: list[Hear], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(messages), max_size=4)) if messages else []
    found = []
    for order in (messages, data.draw(st.permutations(messages + repeated))):
        await redis.flushall()
        system = System(redis, 500)
        await system.advance(0)
        for some in batched(order, data.draw(st.integers(1, 12)), strict=False):
            await system.hear(list(some))
        states = await system.registry.facility_states(FACILITIES)
        before = [(state.facility_id, state.status, state.sessions) for state in states]
        await system.advance(TTL + 8_000)
        states = await system.registry.facility_states(FACILITIES)
        after = [(state.facility_id, state.status, state.reason) for state in states]
        found.append((before, after, sorted(await system.ended())))
    assert found[0] == found[1]
