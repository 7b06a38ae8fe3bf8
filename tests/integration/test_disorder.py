"""Item by item out of order: partitions delayed, batches repeated, two at once, hints at any time (contract, rule 5).

Messages are stamped when they are sent and wait in partitions of an event hub, each with its own delay. The watermark
is what canaries in the same partitions prove. Where two ingesters, or an ingester and the sweep, work at the same time,
either order is right, facility by facility, so the oracle is kept once for every choice of orders.
"""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.domain.heartbeat import Heartbeat
from shared.domain.session import EndedSession, EndReason, SessionTiming
from shared.registry import keys
from shared.registry.registry import Registry
from tests.oracle import Oracle
from tests.redis_server import stream_rows
from tests.soak import size

TTL, GRACE = 8_000, 3_000
START = 1_000_000
LATEST = 600_000
"""How long a partition may be held up: ten minutes."""
FACILITIES = ["f-1", "lab.3", "f-2"]
SESSIONS = ["u-1/a", "u-1/b", "u@x|y/long-session-id"]
HUB = range(3)
MOST_CONCURRENT = 3


@dataclass(frozen=True)
class Message:
    facility: str
    session: str
    at: int
    leaving: bool = False


@dataclass(frozen=True)
class Say:
    """Somebody sends a message; it waits in a partition."""

    hub: int
    facility: str
    session: str
    leaving: bool


@dataclass(frozen=True)
class Pass:
    """Time passes; then a canary goes to every partition."""

    by: int


@dataclass(frozen=True)
class Deliver:
    """A partition hands over what waits, up to `count`, having gone back by `again` first."""

    hub: int
    count: int
    again: int = 0


@dataclass(frozen=True)
class DeliverTwo:
    """Two partitions at the same time (the same one twice: a batch that two ingesters have at once)."""

    hubs: tuple[int, int]


@dataclass(frozen=True)
class DeliverWhileSweeping:
    hub: int


@dataclass(frozen=True)
class Stray:
    """A single message that the watermark knows nothing of."""

    facility: str
    session: str
    age: int
    leaving: bool


@dataclass(frozen=True)
class Sweep:
    pass


@dataclass(frozen=True)
class Hint:
    """A notification of an expired key: early, late or doubled; those that never come are the ones not drawn."""

    facility: str


@dataclass(frozen=True)
class End:
    session: str


@dataclass(frozen=True)
class Log:
    pass


hubs, facilities, sessions = st.sampled_from(HUB), st.sampled_from(FACILITIES), st.sampled_from(SESSIONS)
rarely = st.integers(0, 3).map(lambda n: n == 0)
say = st.builds(Say, hubs, facilities, sessions, rarely)
steps = st.lists(
    st.one_of(
        say,
        say,
        say,
        st.builds(Pass, st.sampled_from([100, 1_000, 3_000, 5_000, 9_000, 60_000])),
        st.builds(Deliver, hubs, st.integers(1, 8), st.integers(0, 4)),
        st.builds(Deliver, hubs, st.just(100)),
        st.builds(DeliverTwo, st.tuples(hubs, hubs)),
        st.builds(DeliverWhileSweeping, hubs),
        st.builds(Stray, facilities, sessions, st.integers(0, LATEST // 1_000).map(lambda n: n * 1_000), rarely),
        st.just(Sweep()),
        st.builds(Hint, facilities),
        st.builds(End, sessions),
        st.just(Log()),
    ),
    max_size=60,
)


@dataclass
class Hub:
    """Event Hubs: partitions of messages and canaries (plain times), and how far each has been read."""

    partitions: list[list[Message | int]] = field(default_factory=lambda: [[START] for _ in HUB])
    read: list[int] = field(default_factory=lambda: [1 for _ in HUB])
    ingested: list[int] = field(default_factory=lambda: [START for _ in HUB])

    def take(self, hub: int, count: int, again: int = 0) -> list[Message | int]:
        start = max(0, self.read[hub] - again)
        batch = self.partitions[hub][start : self.read[hub] + count]
        self.read[hub] = min(len(self.partitions[hub]), self.read[hub] + count)
        return batch

    def done(self, hub: int, batch: list[Message | int]) -> None:
        """A canary counts once everything in front of it is applied."""
        self.ingested[hub] = max([self.ingested[hub], *(each for each in batch if isinstance(each, int))])

    @property
    def watermark(self) -> int:
        return min(self.ingested)


Change = Callable[[Oracle], None]


@dataclass
class World:
    """The system, and an oracle for every history that may have happened."""

    client: Redis
    hub: Hub = field(default_factory=Hub)
    now: int = START
    oracles: list[Oracle] = field(default_factory=lambda: [Oracle(TTL, GRACE, START)])
    forks: int = 0

    def __post_init__(self) -> None:
        # Two processes.
        self.registries = [Registry(self.client, SessionTiming(TTL, GRACE)) for _ in range(2)]

    def happened(self, *changes: Change) -> None:
        """One after another; several at once are tried in both orders."""
        if len(changes) == 2:
            self.forks += 1
            self.oracles = [order for oracle in self.oracles for order in (oracle, deepcopy(oracle))]
            for oracle, order in zip(self.oracles, [changes, changes[::-1]] * len(self.oracles), strict=False):
                for change in order:
                    change(oracle)
        else:
            for oracle, change in product(self.oracles, changes):
                change(oracle)

    async def ingest(self, batch: list[Message | int], process: int = 0) -> None:
        placed = [
            (each.facility, Heartbeat(*split(each.session), each.at, leaving=each.leaving))
            for each in batch
            if isinstance(each, Message)
        ]
        result = await self.registries[process].ingest(placed)
        assert result.applied + result.duplicates + result.late + result.ended == len(placed)

    async def sweep(self, watermark: int) -> None:
        for partition in keys.ALL_PARTITIONS:
            await self.registries[1].sweep(partition, watermark)

    async def rows(self, name: str) -> list[dict[str, str]]:
        streams = [getattr(partition, name) for partition in keys.ALL_PARTITIONS]
        return [row for stream in streams for row in await stream_rows(self.client, stream)]


def split(session: str) -> tuple[str, str]:
    user, _, session_id = session.partition("/")
    return user, session_id


def hear(batch: list[Message | int]) -> Change:
    def change(oracle: Oracle) -> None:
        for each in batch:
            if isinstance(each, Message):
                oracle.hear(each.facility, each.session, each.at, leaving=each.leaving)

    return change


async def take_step(world: World, step: object) -> None:
    hub = world.hub
    match step:
        case Say(number, facility, session, leaving):
            world.now += 7
            hub.partitions[number].append(Message(facility, session, world.now, leaving))
        case Pass(by):
            world.now += by
            for partition in hub.partitions:
                partition.append(world.now)
        case Deliver(number, count, again):
            batch = hub.take(number, count, again)
            await world.ingest(batch)
            world.happened(hear(batch))
            hub.done(number, batch)
        case DeliverTwo((one, other)) if world.forks < MOST_CONCURRENT:
            first = hub.take(one, 100)
            second = first if one == other else hub.take(other, 100)
            await asyncio.gather(world.ingest(first, 0), world.ingest(second, 1))
            world.happened(hear(first), hear(second))
            hub.done(one, first)
            hub.done(other, second)
        case DeliverWhileSweeping(number) if world.forks < MOST_CONCURRENT:
            batch, watermark = hub.take(number, 100), hub.watermark
            await asyncio.gather(world.ingest(batch), world.sweep(watermark))
            world.happened(hear(batch), lambda oracle: oracle.advance(watermark))
            hub.done(number, batch)
        case Stray(facility, session, age, leaving):
            batch = [Message(facility, session, hub.watermark - age, leaving)]
            await world.ingest(batch)
            world.happened(hear(batch))
        case Sweep():
            await world.sweep(hub.watermark)
            world.happened(lambda oracle: oracle.advance(hub.watermark))
        case Hint(facility):
            # What a hint ends is due by the watermark, but only the sweep has the whole partition decided.
            await world.registries[0].sweep_facility(facility, keys.partition_of(facility), hub.watermark)
            world.happened(lambda oracle: oracle.advance_one(facility, hub.watermark))
        case End(session):
            user, session_id = split(session)
            until = world.now + 30_000
            await world.registries[0].end_session(user, session_id, FACILITIES, world.now, until)
            world.happened(lambda oracle: oracle.end(session, FACILITIES, world.now, until))
        case Log():
            ended = [
                EndedSession(
                    *split(row["id"]),
                    row["facility"],
                    int(row["started"]),
                    int(row["ended"]),
                    EndReason(row["reason"]),
                )
                for row in await world.rows("ended")
            ]
            await world.registries[0].purge(ended)


@pytest.mark.soak
@settings(max_examples=size(120, 3_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps)
async def test_whatever_the_order_the_truth_is_the_oracles(redis: Redis, plan: list[object]) -> None:
    await redis.flushall()
    world = World(redis)
    await world.sweep(START)
    for step in plan:
        await take_step(world, step)
    # In the end everything is delivered, once more for good measure, and decided.
    for number in HUB:
        await take_step(world, Deliver(number, 1_000, 5))
    await take_step(world, Pass(LATEST))
    for number in HUB:
        await take_step(world, Deliver(number, 1_000))
    await take_step(world, Sweep())

    changes = await world.rows("changes")
    ended = await world.rows("ended")
    for facility in FACILITIES:
        told = sorted(
            (int(row["version"]), row["status"], int(row["since"]), row["reason"])
            for row in changes
            if row["facility"] == facility
        )
        log = sorted(
            (row["id"], int(row["started"]), int(row["ended"]), row["reason"])
            for row in ended
            if row["facility"] == facility
        )
        right = [
            (
                sorted(
                    (v, status, since, reason) for f, status, since, v, reason in oracle.transitions if f == facility
                ),
                sorted(entry[1:] for entry in oracle.log if entry[0] == facility),
            )
            for oracle in world.oracles
        ]
        assert (told, log) in right
        assert [version for version, *_ in told] == list(range(1, len(told) + 1)), "each change is one version"
