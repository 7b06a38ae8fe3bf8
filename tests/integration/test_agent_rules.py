"""Agents against the sessions themselves: any messages, ends, repetitions and readers, on a real server."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from shared.domain.agent import STATUS_CODES, Saying
from shared.domain.heartbeat import AgentStatus, Heartbeat
from shared.domain.session import SessionTiming
from shared.registry import keys
from shared.registry.agents import Agents, presence
from shared.registry.registry import Registry
from shared.stream.entries import parse_presence
from shared.stream.queue import StreamQueue

TTL, GRACE = 8_000, 3_000
START = 1_000_000
FACILITIES = ["f-1", "lab.3", ""]
USERS = ["u-1", "u@x|y"]
SESSIONS = ["a", "b"]

offsets = st.integers(-6, 24).map(lambda step: step * 500)


@dataclass(frozen=True)
class Hear:
    facility: str
    user: str
    session: str
    offset: int
    status: AgentStatus | None
    leaving: bool


@dataclass(frozen=True)
class Advance:
    by: int


@dataclass(frozen=True)
class End:
    user: str
    session: str


@dataclass(frozen=True)
class Follow:
    """A reader follows what is there; `crash`: it dies before it can delete what it has followed."""

    count: int
    crash: bool


@dataclass(frozen=True)
class Command:
    user: str
    offset: int
    status: AgentStatus


messages = st.builds(
    Hear,
    st.sampled_from(FACILITIES),
    st.sampled_from(USERS),
    st.sampled_from(SESSIONS),
    offsets,
    st.sampled_from([None, None, *AgentStatus]),
    st.integers(0, 4).map(lambda n: n == 0),
)
plans = st.lists(
    st.one_of(
        messages,
        messages,
        messages,
        st.builds(Advance, st.integers(0, 12).map(lambda step: step * 1_000)),
        st.builds(End, st.sampled_from(USERS), st.sampled_from(SESSIONS)),
        st.builds(Follow, st.sampled_from([1, 2, 500]), st.booleans()),
        st.builds(Command, st.sampled_from(USERS), offsets, st.sampled_from(AgentStatus)),
    ),
    max_size=40,
)


class System:
    def __init__(self, client: Redis) -> None:
        self.client = client
        self.registry = Registry(client, SessionTiming(TTL, GRACE))
        self.agents = Agents(client)
        self.queue = StreamQueue(client, [partition.presence for partition in keys.ALL_PARTITIONS])
        self.sources = {partition.presence: partition for partition in keys.ALL_PARTITIONS}
        self.watermark = START
        self.heard: list[Hear] = []

    async def hear(self, message: Hear) -> None:
        beat = Heartbeat(
            message.user, message.session, self.watermark + message.offset, None, message.status, message.leaving
        )
        # Every message is given twice, as after a crash of ingest between its two steps.
        for _ in range(2):
            result = await self.registry.ingest([(message.facility, beat)])
            await self.agents.hear(result.said)

    async def advance(self, by: int) -> None:
        self.watermark += by
        for partition in keys.ALL_PARTITIONS:
            while (await self.registry.sweep(partition, self.watermark)).more:
                pass

    async def follow(self, count: int, *, crash: bool) -> int:
        entries = await self.queue.read(count)
        events: dict[keys.Partition, list[object]] = {}
        for entry in entries:
            events.setdefault(self.sources[entry.stream], []).append(parse_presence(entry.entry_id, entry.fields))
        await self.agents.follow(events)  # type: ignore[arg-type]
        if not crash:
            await self.queue.delete(entries)
        return len(entries)

    async def truth(self) -> dict[str, set[tuple[int, int]]]:
        found: dict[str, set[tuple[int, int]]] = {}
        for user in USERS:
            for facility in FACILITIES:
                [online] = await self.registry.online_sessions_of([(facility, keys.partition_of(facility, user))])
                found.setdefault(user, set()).update(presence(facility, s) for u, s in online if u == user)
        return found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans)
async def test_agents_are_where_their_sessions_are_and_what_they_said_last(
    redis: Redis, plan: list[Hear | Advance | End | Follow | Command]
) -> None:
    await redis.flushall()
    system = System(redis)
    await system.advance(0)
    for step in plan:
        match step:
            case Hear():
                await system.hear(step)
            case Advance(by):
                await system.advance(by)
            case End(user, session):
                await system.registry.end_session(user, session, FACILITIES, system.watermark, system.watermark)
            case Follow(count, crash):
                await system.follow(count, crash=crash)
            case Command(user, offset, status):
                agent = await system.agents.set_status(Saying(user, system.watermark + offset, status))
                assert agent is None or await system.agents.get(user) is not None
    while await system.follow(500, crash=False):
        pass
    for user, presences in (await system.truth()).items():
        agent = await system.agents.get(user)
        assert (agent.presences if agent else frozenset()) == presences
    await told_in_order(system)


async def told_in_order(system: System) -> None:
    """Whoever takes the later `since` of all messages holds what is."""
    rows: dict[str, list[tuple[int, str]]] = {}
    for partition in keys.ALL_USER_PARTITIONS:
        for stream in (partition.urgent, partition.traffic):
            for entry in await StreamQueue(system.client, [stream]).read(10_000):
                fields = entry.fields
                if fields["kind"] == "status":
                    rows.setdefault(entry.fields["user"], []).append(
                        (int(entry.fields["since"]), entry.fields["status"])
                    )
    for user in USERS:
        told = rows.get(user, [])
        assert len({since for since, _ in told}) == len(told), "two messages with one `since`"
        agent = await system.agents.get(user)
        if agent is None:
            assert not told or max(told)[1] == "offline"
        else:
            assert max(told) == (agent.since, agent.status)


said = st.lists(
    st.builds(Saying, st.just("u-1"), st.integers(1, 6).map(lambda n: START + n), st.sampled_from(AgentStatus)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sayings=said, data=st.data())
async def test_the_last_word_does_not_depend_on_the_order_of_arrival(
    redis: Redis, sayings: list[Saying], data: st.DataObject
) -> None:
    await redis.flushall()
    system = System(redis)
    await system.hear(Hear("f-1", "u-1", "a", 0, None, leaving=False))
    await system.follow(500, crash=False)
    shuffled = data.draw(st.permutations(sayings))
    for saying in shuffled:
        if data.draw(st.booleans()):
            await system.agents.hear([saying])
        else:
            await system.agents.set_status(saying)
    agent = await system.agents.get("u-1")
    assert agent is not None
    last = max(sayings, key=lambda saying: (saying.at, STATUS_CODES[saying.status]))
    assert agent.status == last.status
