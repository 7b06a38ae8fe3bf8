"""How fast heartbeats get from an Event Hubs batch into Redis: the product beside a transaction per heartbeat."""

import gc
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bench import product
from bench.measuring import redis_server, server_seconds, spread
from bench.report import Benchmark, Cell, Chart, Context, Goal, Report, Table
from shared.events.codec import Draft, encode_beat, encode_packet
from shared.pipeline.ingest import HeartbeatIngest, StreamEvent

_EVENTS_PER_BATCH = 100  # maxEventBatchSize of host.json
_TTL_SECONDS = 90
_GOAL, _GOAL_RATIO = 30_000, 25

Session = tuple[str, str, str]
Work = Callable[[Sequence[StreamEvent]], Awaitable[object]]


@dataclass(frozen=True)
class Way:
    """A way of ingesting: how many heartbeats an event carries, how many are applied per round, and by what."""

    name: str
    per_event: int
    beats: int
    apply: Work


@dataclass(frozen=True)
class Sample:
    """One round, in microseconds per heartbeat: of this process, of the server, and by the clock."""

    function: float
    server: float
    elapsed: float

    @property
    def one_core(self) -> float:
        """Heartbeats per second if function and server share one core."""
        return 1e6 / (self.function + self.server)


class SourceDesign:
    """A worker as the source documents have it: per event the session's value is read, its end time is moved, and the
    expiring key is written together with it in one transaction."""

    def __init__(self, client: Redis, *, pipelined: bool) -> None:
        self._client = client
        self._pipelined = pipelined

    async def apply(self, events: Sequence[StreamEvent]) -> None:
        """Applies events one after another; pipelined, the reads of a batch travel together, then the transactions."""
        beats = [json.loads(event.body) for event in events]
        names = [f"{beat['userId']}:{beat['sessionId']}" for beat in beats]
        if not self._pipelined:
            for name, beat in zip(names, beats, strict=True):
                known = await self._client.get(f"values:{name}")
                async with self._client.pipeline(transaction=True) as pipe:
                    self._write(pipe, name, beat, known)
                    await pipe.execute()
            return
        pipe = self._client.pipeline(transaction=False)
        for name, beat, known in zip(
            names, beats, await self._client.mget([f"values:{name}" for name in names]), strict=True
        ):
            pipe.execute_command("MULTI")
            self._write(pipe, name, beat, known)
            pipe.execute_command("EXEC")
        await pipe.execute()

    @staticmethod
    def _write(pipe: Pipeline, name: str, beat: dict[str, Any], known: bytes | str | None) -> None:
        value = json.loads(known) if known else {**beat, "startTime": beat["receivedAt"], "offlineTime": None}
        value["endTime"] = beat["receivedAt"] + _TTL_SECONDS * 1000
        pipe.set(f"sessions:{name}", "", ex=_TTL_SECONDS)
        pipe.set(f"values:{name}", json.dumps(value))


async def run(context: Context) -> Report:
    """Runs all ways in turn, several rounds, so that each round compares them under the same load."""
    count = context.pick(40_000, 200_000)
    rounds = context.pick(5, 9)
    sessions = list(product.people(count))
    async with redis_server(context.directory / "ours") as ours, redis_server(context.directory / "source") as other:
        up = product.services(ours, context.directory)
        await product.begin(up, product.directory_of([(user, facility) for user, _, facility in sessions]))
        ways = [
            _ours("packed, 300 a packet", up.ingest, 300, count // 2),
            _ours("packed, 20 a packet", up.ingest, 20, count // 4),
            _ours("one heartbeat an event", up.ingest, 1, count // 8),
            Way(
                "source design: a read and a transaction per heartbeat",
                1,
                count // 40,
                SourceDesign(other, pipelined=False).apply,
            ),
            Way("the same, pipelined per batch", 1, count // 20, SourceDesign(other, pipelined=True).apply),
        ]
        context.progress(f"{count:,} sessions come online")
        await _round(ours, sessions, Way("first", 300, count, up.ingest.apply))
        await up.agent_follower.errand.idle()
        await product.follow_agents(up)
        samples: dict[str, list[Sample]] = {way.name: [] for way in ways}
        for number in range(rounds):
            for way in ways:
                server = other if isinstance(getattr(way.apply, "__self__", None), SourceDesign) else ours
                samples[way.name].append(await _round(server, random.sample(sessions, way.beats), way))
            context.progress(f"round {number + 1} of {rounds}: {samples[ways[0].name][-1].one_core:,.0f}/s")
        await up.sweep.close()
        await up.redis.aclose()
    return _report(ways, samples, count)


def _ours(name: str, ingest: HeartbeatIngest, per_event: int, beats: int) -> Way:
    return Way(f"product: {name}", per_event, beats, ingest.apply)


async def _round(server: Redis, sessions: Sequence[Session], way: Way) -> Sample:
    """Applies one heartbeat of each session, batch after batch, and measures only that."""
    batches = list(_batches(sessions, way))
    gc.collect()
    on_server, in_process, clock = await server_seconds(server), time.process_time(), time.perf_counter()
    for batch in batches:
        await way.apply(batch)
    in_process, clock = time.process_time() - in_process, time.perf_counter() - clock
    on_server = await server_seconds(server) - on_server
    scale = 1e6 / len(sessions)
    return Sample(in_process * scale, on_server * scale, clock * scale)


def _batches(sessions: Sequence[Session], way: Way) -> list[list[StreamEvent]]:
    at = product.now()
    if way.name.startswith(("product", "first")):
        bodies = [
            encode_packet(at, [encode_beat(Draft(user, session)) for user, session, _ in chunk])
            for chunk in _chunks(sessions, way.per_event)
        ]
    else:
        bodies = [
            json.dumps({"userId": user, "sessionId": session, "receivedAt": at}).encode()
            for user, session, _ in sessions
        ]
    events = [StreamEvent(body, number) for number, body in enumerate(bodies)]
    return _chunks(events, _EVENTS_PER_BATCH)


def _chunks[T](items: Sequence[T], size: int) -> list[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _report(ways: Sequence[Way], samples: dict[str, list[Sample]], count: int) -> Report:
    rows: list[list[Cell]] = []
    rates = {}
    baseline = samples[ways[3].name]
    for way in ways:
        mine = samples[way.name]
        rates[way.name], low, high = spread([sample.one_core for sample in mine])
        ratio = spread([one.elapsed / other.elapsed for one, other in zip(baseline, mine, strict=True)])
        rows.append(
            [
                way.name,
                spread([sample.function for sample in mine])[0],
                spread([sample.server for sample in mine])[0],
                rates[way.name],
                f"{low:,.0f} … {high:,.0f}",
                spread([1e6 / sample.elapsed for sample in mine])[0],
                f"{ratio[0]:.1f} ({ratio[1]:.1f} … {ratio[2]:.1f})",
            ]
        )
    best = samples[ways[0].name]
    by_clock = spread([one.elapsed / other.elapsed for one, other in zip(baseline, best, strict=True)])[0]
    return Report(
        tables=[
            Table(
                f"{len(best)} rounds, all ways in each; {count:,} sessions online, 20 a facility; medians",
                [
                    "way",
                    "function, µs processor per heartbeat",
                    "Redis, µs processor",
                    "heartbeats/s, both on one core",
                    "spread",
                    "heartbeats/s by the clock",
                    "× a transaction per heartbeat, by the clock",
                ],
                rows,
            )
        ],
        goals=[
            Goal(
                "ingest, function and Redis together on one core",
                f"≥ {_GOAL:,} heartbeats/s",
                f"{rates[ways[0].name]:,.0f}/s",
                rates[ways[0].name] >= _GOAL,
            ),
            Goal(
                "ingest beside a transaction per heartbeat",
                f"≥ {_GOAL_RATIO} ×",
                f"{by_clock:.0f} ×",
                by_clock >= _GOAL_RATIO,
            ),
        ],
        charts=[
            Chart(
                "Event Hubs batch to Redis done, function and Redis on one core",
                "heartbeats/s",
                ["packed 300", "packed 20", "unpacked", "source design", "source, pipelined"],
                {"heartbeats/s": [rates[way.name] for way in ways]},
                goal=_GOAL,
            )
        ],
        notes=[
            "Measured from the decoded trigger call (`HeartbeatIngest.apply`) to the answer of Redis; directory, "
            "watermark and counters included. The sessions are online and renewed: what nearly every heartbeat does.",
            "Processor time is what the operating system counted for this process and the server, so that other load "
            "on the machine hardly shows; by the clock it does.",
        ],
    )


BENCH = Benchmark("ingest", "Event Hubs batch to Redis done, beside a transaction per heartbeat.", run)
