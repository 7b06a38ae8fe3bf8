"""Where session values and deadlines are kept: memory, processor time per heartbeat, and what a sweep costs."""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from bench import product
from bench.candidates import TTL, Beat, Layout, Presence, Product, Scripted, SourceDesign
from bench.measuring import redis_server, server_bytes, server_seconds
from bench.report import Benchmark, Chart, Context, Goal, Report, Table

_BATCH = 4_000  # presences that the product gives to Redis at once
_INTERVAL = 30_000
_MOMENTS = 500  # milliseconds over which what belongs together is spread
_AHEAD = 3_600_000  # the story plays in the future, so that no key expires by the clock while it is measured
_ONE_IN = 1_000  # a tenth of a percent
_GOAL_BYTES, _GOAL_MICROSECONDS, _GOAL_RATIO = 256, 8.0, 2.0

PRODUCT = "product, all rules (product)"
CENTRIFUGE = "hash + sorted set per channel, lazy purge (Centrifuge)"
SESSION_DEADLINE = "C hash per facility, deadline per session in one sorted set"
FACILITY_SET = "D hash and sorted set per facility"
LAYOUTS: dict[str, Callable[[Redis], Layout]] = {
    PRODUCT: Product,
    "A hash per facility, deadline per facility, key per session": lambda c: Scripted(c, "facility_deadline", "1"),
    "B as A, without the key per session": lambda c: Scripted(c, "facility_deadline", "0"),
    SESSION_DEADLINE: lambda c: Scripted(c, "session_deadline"),
    FACILITY_SET: lambda c: Scripted(c, "facility_set"),
    "E key per session, deadline per session in one sorted set": lambda c: Scripted(c, "key"),
    CENTRIFUGE: Presence,
    "expiring key + value per session (source design)": SourceDesign,
}


MOST = 1_000_000
COMPARED_AT_MOST = (PRODUCT, SESSION_DEADLINE, FACILITY_SET, CENTRIFUGE)


@dataclass(frozen=True)
class Shape:
    """What the sessions look like; `uuids`: user and session ids are 36 characters each."""

    sessions: int
    per_facility: int = product.PER_FACILITY
    uuids: bool = False

    def beats(self, at: int) -> list[Beat]:
        """Returns a heartbeat of every session; spread over half a second; later if it will be its last."""
        found = []
        for number, (user, session, facility) in enumerate(product.people(self.sessions, self.per_facility)):
            ids = (_uuid(number), _uuid(number + self.sessions)) if self.uuids else (user, session)
            moment = at + number % _MOMENTS + (1_000 if _falls_silent(number) else 0)
            found.append((facility, *ids, moment))
        return found


@dataclass
class Figures:
    """What one run of a layout gave."""

    bytes_each: float = 0
    first: float = 0  # µs of the server per heartbeat
    renewal: float = 0
    agents: float = 0  # bytes that a session's agent adds
    activity: float = 0  # bytes of the counters of its facility
    following: float = 0  # µs that this took
    sweeps: dict[str, float] = field(default_factory=dict)  # ms of the server


async def run(context: Context) -> Report:
    """Measures every layout at every size, then the product with other ids and larger facilities."""
    plan = context.pick([(10_000, 3)], [(10_000, 3), (100_000, 1), (MOST, 1)])
    found: dict[int, dict[str, Figures]] = {}
    for sessions, rounds in plan:
        names = COMPARED_AT_MOST if sessions == MOST else tuple(LAYOUTS)
        runs: dict[str, list[Figures]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                figures = await _measure(context, name, Shape(sessions))
                runs[name].append(figures)
                context.progress(
                    f"{sessions:>9,} {name:<62} {figures.bytes_each:4.0f} B {figures.renewal:5.1f} µs a heartbeat"
                )
        found[sessions] = {name: _median(each) for name, each in runs.items()}
    largest = plan[0][0] if len(plan) == 1 else plan[-2][0]
    shapes = {
        "12-byte user, 16-byte session ids, 1,000 a facility": Shape(largest, per_facility=1_000),
        "UUIDs as text, 20 a facility": Shape(largest, uuids=True),
        "UUIDs as text, 1,000 a facility": Shape(largest, per_facility=1_000, uuids=True),
    }
    others: dict[str, Figures] = {"12-byte user, 16-byte session ids, 20 a facility": found[largest][PRODUCT]}
    for name, shape in shapes.items():
        others[name] = await _measure(context, PRODUCT, shape, sweeps=False)
        context.progress(f"{largest:>9,} product, {name:<53} {others[name].bytes_each:4.0f} B")
    return _report(context, found, largest, others)


async def _measure(context: Context, name: str, shape: Shape, *, sweeps: bool = True) -> Figures:
    """Plays the story of one layout on a server of its own.

    Everybody comes, everybody but one in a thousand is renewed 30 s later. Then four sweeps: when the first deadlines
    were due (all of them have moved), half a second later, when the silent ones are due, when all others are.
    """
    async with redis_server(context.directory / "layout") as client:
        layout = LAYOUTS[name](client)
        start = product.now() + _AHEAD
        if isinstance(layout, Product):
            await _as_in_operation(layout, shape, start)
        else:
            await layout.sweep(start)
        empty = await server_bytes(client)
        figures = Figures()
        first = shape.beats(start)
        figures.first = await _apply(client, layout, first)
        if isinstance(layout, Product):
            before = await server_seconds(client)
            await layout.settle()
            figures.following = (await server_seconds(client) - before) / shape.sessions * 1e6
        renewals = [
            (f, u, s, start + _INTERVAL + n % _MOMENTS) for n, (f, u, s, _) in enumerate(first) if not _falls_silent(n)
        ]
        random.Random(7).shuffle(renewals)
        figures.renewal = await _apply(client, layout, renewals)
        figures.bytes_each = (await server_bytes(client) - empty) / shape.sessions
        if isinstance(layout, Product):
            figures.agents = await _bytes_of(client, "agents:*") / shape.sessions
            activity = [await _bytes_of(client, pattern) for pattern in ("users:*", "activity:*", "activity-due:*")]
            figures.activity = sum(activity) / shape.sessions
        if sweeps:
            silent = len(first) - len(renewals)
            figures.sweeps["nobody, all were renewed"] = await _sweep(client, layout, start + TTL + _MOMENTS, 0)
            figures.sweeps["nobody"] = await _sweep(client, layout, start + TTL + 900, 0)
            figures.sweeps["0.1 %"] = await _sweep(client, layout, start + TTL + 1_000 + _MOMENTS, silent)
            figures.sweeps["100 %"] = await _sweep(client, layout, start + TTL + _INTERVAL + _MOMENTS, len(renewals))
        return figures


async def _as_in_operation(layout: Product, shape: Shape, start: int) -> None:
    """One in a thousand as many sessions as live ones was ended by command lately; the watermark is known."""
    ended = [(f"gone-{number:07d}", f"s-{number:014d}", start) for number in range(shape.sessions // _ONE_IN)]
    await layout.registry.block(ended)
    await layout.sweep(start - 1_000)


async def _apply(client: Redis, layout: Layout, beats: Sequence[Beat]) -> float:
    before = await server_seconds(client)
    for at in range(0, len(beats), _BATCH):
        await layout.beats(beats[at : at + _BATCH])
    return (await server_seconds(client) - before) / len(beats) * 1e6


async def _sweep(client: Redis, layout: Layout, watermark: int, expected: int) -> float:
    before = await server_seconds(client)
    ended = await layout.sweep(watermark)
    if ended != expected:
        raise AssertionError(f"{ended} sessions ended, {expected} were due")
    return (await server_seconds(client) - before) * 1e3


async def _bytes_of(client: Redis, pattern: str) -> int:
    """Returns what the keys of a pattern take, names and entries included."""
    total, cursor = 0, 0
    while True:
        cursor, names = await client.scan(cursor, match=pattern, count=5_000)
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.memory_usage(name, samples=0)
        total += sum(int(size) for size in await pipe.execute())
        if cursor == 0:
            return total


def _falls_silent(number: int) -> bool:
    return number % _ONE_IN == 0


def _uuid(number: int) -> str:
    digits = f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _short(name: str) -> str:
    """Returns `A` of `A hash per facility…`, or what a name says in brackets."""
    return name[0] if name[1] == " " else name.partition("(")[2].rstrip(")")


def _median(runs: Sequence[Figures]) -> Figures:
    return Figures(
        statistics.median(run.bytes_each for run in runs),
        statistics.median(run.first for run in runs),
        statistics.median(run.renewal for run in runs),
        statistics.median(run.agents for run in runs),
        statistics.median(run.activity for run in runs),
        statistics.median(run.following for run in runs),
        {name: statistics.median(run.sweeps[name] for run in runs) for name in runs[0].sweeps},
    )


def _report(
    context: Context, found: dict[int, dict[str, Figures]], others_at: int, others: dict[str, Figures]
) -> Report:
    largest = max(found)
    best, centrifuge = found[largest][PRODUCT], found[largest][CENTRIFUGE]
    at_full = context.size == "full"
    kinds = list(best.sweeps)
    return Report(
        tables=[
            *(
                Table(
                    f"{sessions:,} sessions, 20 a facility; processor time of the server",
                    [
                        "layout",
                        "bytes per session",
                        "µs per first heartbeat",
                        "µs per renewal",
                        *(f"ms per sweep, due: {kind}" for kind in kinds),
                    ],
                    [
                        [name, each.bytes_each, each.first, each.renewal, *(each.sweeps[kind] for kind in kinds)]
                        for name, each in figures.items()
                    ],
                )
                for sessions, figures in found.items()
            ),
            Table(
                f"The product with other ids and larger facilities, {others_at:,} sessions",
                [
                    "ids",
                    "bytes per session",
                    "of these for its agent",
                    "and for activity counters",
                    "µs per first heartbeat",
                    "µs to follow its agent",
                    "µs per renewal",
                ],
                [
                    [name, each.bytes_each, each.agents, each.activity, each.first, each.following, each.renewal]
                    for name, each in others.items()
                ],
            ),
        ],
        goals=[
            Goal(
                f"memory per session at {largest:,}, everything included but activity counters",
                f"≤ {_GOAL_BYTES} B",
                f"{best.bytes_each - best.activity:.0f} B, of which {best.agents:.0f} B for its agent",
                best.bytes_each - best.activity <= _GOAL_BYTES if at_full else None,
            ),
            Goal(
                f"Redis processor time per heartbeat at {largest:,} sessions",
                f"≤ {_GOAL_MICROSECONDS:g} µs",
                f"{best.renewal:.1f} µs",
                best.renewal <= _GOAL_MICROSECONDS if at_full else None,
            ),
            Goal(
                "the same beside the Centrifuge algorithm",
                f"≥ {_GOAL_RATIO:g} × less",
                f"{centrifuge.renewal / best.renewal:.1f} × less",
                centrifuge.renewal >= _GOAL_RATIO * best.renewal,
            ),
        ],
        charts=[
            Chart(
                f"Processor time of the server per renewal, {largest:,} sessions",
                "µs",
                [_short(name) for name in found[largest]],
                {"µs": [each.renewal for each in found[largest].values()]},
                goal=_GOAL_MICROSECONDS,
            ),
            Chart(
                f"Memory per session, {largest:,} sessions",
                "bytes",
                [_short(name) for name in found[largest]],
                {"bytes": [each.bytes_each for each in found[largest].values()]},
                goal=_GOAL_BYTES,
            ),
        ],
        notes=[
            "A to E do the least that a layout needs (keep the newest beat, count a facility's sessions, append "
            "changes and ends to a stream); the product's row carries all rules of the contract on layout A, but its "
            "sweep moves the keys, not every heartbeat.",
            "All are given the same batches of 4,000 heartbeats, in random order; one script call per partition. "
            "Centrifuge's algorithm and the source design have one call per heartbeat, here pipelined per batch.",
            "Bytes: growth of `used_memory` by everything that is written, streams, indexes and hash tables included. "
            "Processor time: `used_cpu_user` + `used_cpu_sys` of the server, so that other load hardly shows.",
            "The product's bytes include the agent of each session's user (one session each, the dearest case) and the "
            "counters of activity, but not what waits in streams for its readers.",
            "“Nobody, all were renewed” is the dearest sweep of a layout that looks at facilities: each is looked at "
            "in vain. It spreads over all sweeps of a TTL; the other columns are one sweep each.",
        ],
    )


BENCH = Benchmark("layouts", "Session values and deadlines in Redis: seven layouts beside the product's registry.", run)
