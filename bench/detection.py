"""How soon silence is noticed and told, among how many live sessions: the product beside two other designs."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from bench import product
from bench.candidates import TTL, Presence
from bench.measuring import percentile, redis_server, server_seconds
from bench.report import Benchmark, Cell, Chart, Context, Goal, Report, Table
from bench.system import Arrivals, System, now, running
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import SessionTiming
from shared.registry import keys
from shared.registry.registry import Registry

_SILENT = 1_000
_TTL = 12.0
_SPREAD = 12.0  # seconds over which the last heartbeats, and so the deadlines, spread at random
_WATCH = 15.0  # seconds after the last deadline in which it must be told
_READ_EVERY = 5.0  # seconds between two reads of a channel where only readers find out
_LIVE_UNTIL = 3_600_000  # the live ones need no heartbeat meanwhile
_PIECES = 50
_CHUNK = 4_000
_PER_FACILITY = product.PER_FACILITY
_MASS = 200_000
_AHEAD = 15_000
_GOAL_MS, _GOAL_STALL_MS = 2_000, 1_000
_SETTINGS = {"SESSION_TTL_SECONDS": f"{_TTL:g}"}

OURS = "product, told to a browser"
SOURCE = "source design: expiry notifications alone"
CENTRIFUGE = f"hash + sorted set, purged when read (each channel every {_READ_EVERY:g} s)"


@dataclass
class Told:
    """Milliseconds from deadline to notice of those that were told, and the server's processor share meanwhile."""

    lags: list[float] = field(default_factory=list)
    server_percent: float = 0.0


async def run(context: Context) -> Report:
    """Runs the three designs at each number of live sessions, then ends 200,000 sessions at once."""
    sizes = context.pick((0, 10_000), (0, 10_000, 100_000, 1_000_000))
    found: dict[str, dict[int, Told]] = {OURS: {}, SOURCE: {}, CENTRIFUGE: {}}
    people = [(f"user-{number:05d}", f"f-{number:05d}") for number in range(_SILENT)]
    async with running(context.directory / "stack", _SETTINGS, people=people) as system:
        live = 0
        for size in sizes:
            await _fill(system, live, size)
            live = size
            found[OURS][size] = await _product(system, people)
            _say(context, OURS, size, found[OURS][size])
    for size in sizes:
        found[SOURCE][size], found[CENTRIFUGE][size] = await asyncio.gather(
            _on_server(context, f"source-{size}", size, _source),
            _on_server(context, f"presence-{size}", size, _centrifuge),
        )
        _say(context, SOURCE, size, found[SOURCE][size])
        _say(context, CENTRIFUGE, size, found[CENTRIFUGE][size])
    return _report(context, found, await _mass_expiry(context, context.pick(20_000, _MASS)))


def _say(context: Context, name: str, size: int, told: Told) -> None:
    context.progress(
        f"{size:>9,} live, {name}: {len(told.lags)} of {_SILENT:,} told, p99 {percentile(told.lags, 0.99) or 0:,.0f} ms"
    )


async def _product(system: System, people: Sequence[tuple[str, str]]) -> Told:
    """Through the whole stack: each is alone at its facility, whose going offline a browser is told."""
    arrivals = Arrivals()
    browser = await system.browser(arrivals)
    used, clock = await server_seconds(system.redis), time.monotonic()
    turn = f"s-{time.monotonic_ns()}"
    moments = sorted((random.uniform(0, _SPREAD), user) for user, _ in people)
    started = time.monotonic()
    while moments:
        # What is due by now goes out together, as a gateway would send it.
        due = [user for at, user in moments if at <= time.monotonic() - started]
        if due:
            await system.gateway([(user, turn) for user in due])
            moments = moments[len(due) :]
        await asyncio.sleep(0.02)
    facilities = [facility for _, facility in people]
    await arrivals.wait(facilities, "offline", _TTL + _WATCH)
    told = Told([at - arrivals.since[key] for key, at in arrivals.at.items() if key[1] == "offline"])
    told.server_percent = (await server_seconds(system.redis) - used) / (time.monotonic() - clock) * 100
    await browser.close()
    return told


async def _fill(system: System, have: int, want: int) -> None:
    """Brings live sessions into the stack's Redis, with the product's own script."""
    registry = Registry(system.redis, SessionTiming(round(_TTL * 1000), 5_000))
    at = product.now() + _LIVE_UNTIL
    for first in range(have, want, _CHUNK):
        numbers = range(first, min(first + _CHUNK, want))
        await registry.ingest(
            [(f"live-{n // _PER_FACILITY:06d}", Heartbeat(f"live-{n:07d}", "s-1", at)) for n in numbers]
        )
    # They are to be there already: what their coming makes to do is done first.
    while any([await system.redis.xlen(partition.presence) for partition in keys.ALL_PARTITIONS]):
        await asyncio.sleep(0.2)


async def _on_server(
    context: Context, name: str, live: int, design: Callable[[Redis, int, Sequence[float]], Awaitable[Told]]
) -> Told:
    """Gives a design the deadlines of those who fall silent, on a server with so many live sessions."""
    async with redis_server(context.directory / name) as client:
        return await design(client, live, [_TTL + random.uniform(0, _SPREAD) for _ in range(_SILENT)])


async def _source(client: Redis, live: int, silent: Sequence[float]) -> Told:
    """A key per session that expires at its deadline; whoever subscribes to `expired` is told when Redis deletes it."""
    for first in range(0, live, _CHUNK):
        pipe = client.pipeline(transaction=False)
        for number in range(first, min(first + _CHUNK, live)):
            pipe.set(f"sessions:live-{number:07d}", "", px=_LIVE_UNTIL)
            pipe.set(f"values:live-{number:07d}", "x" * 120)
        await pipe.execute()
    deadlines = {f"sessions:user-{number:05d}": now() + seconds * 1000 for number, seconds in enumerate(silent)}
    told = Told()
    async with client.pubsub() as subscription:
        await subscription.subscribe("__keyevent@0__:expired")
        pipe = client.pipeline(transaction=False)
        for name, deadline in deadlines.items():
            pipe.set(name, "", pxat=round(deadline))
        await pipe.execute()
        used, clock = await server_seconds(client), time.monotonic()
        until = time.monotonic() + _TTL + _SPREAD + _WATCH
        while (left := until - time.monotonic()) > 0 and len(told.lags) < _SILENT:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=min(left, 1.0))
            if message is not None:
                told.lags.append(now() - deadlines[message["data"].decode()])
        told.server_percent = (await server_seconds(client) - used) / (time.monotonic() - clock) * 100
    return told


async def _centrifuge(client: Redis, live: int, silent: Sequence[float]) -> Told:
    """Members lapse in a sorted set per channel; they are noticed when somebody reads the channel, each in turn."""
    presence = Presence(client)
    at = product.now() + _LIVE_UNTIL
    for first in range(0, live, _CHUNK):
        numbers = range(first, min(first + _CHUNK, live))
        await presence.beats([(f"live-{n // _PER_FACILITY:06d}", f"live-{n:07d}", "s-1", at) for n in numbers])
    deadlines = {f"f-{number:05d}": now() + seconds * 1000 for number, seconds in enumerate(silent)}
    await presence.beats([(facility, facility, "s-1", round(at) - TTL) for facility, at in deadlines.items()])
    channels = sorted(presence.channels)
    random.shuffle(channels)
    told = Told()
    used, started = await server_seconds(client), time.monotonic()
    turns = round((_TTL + _SPREAD + _WATCH) / _READ_EVERY * _PIECES)
    for turn in range(turns):
        read = await presence.read(channels[turn % _PIECES :: _PIECES], now())
        told.lags += [now() - deadlines[channel] for channel, lapsed in read.items() if lapsed]
        await asyncio.sleep(max(0.0, started + (turn + 1) * _READ_EVERY / _PIECES - time.monotonic()))
        if len(told.lags) == _SILENT:
            break
    told.server_percent = (await server_seconds(client) - used) / (time.monotonic() - started) * 100
    return told


@dataclass
class Stalls:
    """What callers met: milliseconds until an answer, and until Redis had applied a heartbeat; lag in seconds."""

    answers: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)


@dataclass
class Mass:
    """A mass expiry: how many, what was met before and during it, and how long until the last was told (s)."""

    sessions: int
    before: Stalls
    during: Stalls
    told: int
    seconds: float


async def _mass_expiry(context: Context, sessions: int) -> Mass:
    """Ends many sessions in the same millisecond, through the whole stack, while heartbeats go on."""
    facilities = [f"f-{number:05d}" for number in range(sessions // _PER_FACILITY)]
    people = [(f"u-{facility}", facility) for facility in facilities]
    people.append(("u-probe", "probe"))
    async with running(context.directory / "mass", {}, people=people) as system:
        arrivals = Arrivals()
        browser = await system.browser(arrivals)
        registry = Registry(system.redis, SessionTiming(TTL, 5_000))
        # All are stamped with one moment, and due a little after the time that it takes to bring them in.
        due = product.now() + sessions // 20 + _AHEAD
        at = due - TTL
        beats = [
            (facility, Heartbeat(f"u-{facility}", f"s-{n}", at))
            for facility in facilities
            for n in range(_PER_FACILITY)
        ]
        for first in range(0, sessions, _CHUNK):
            await registry.ingest(beats[first : first + _CHUNK])
        context.progress(f"{sessions:,} sessions are online and due together in {due - now():,.0f} ms")
        await arrivals.wait(facilities, "online", 30)
        before, during = Stalls(), Stalls()
        probes = asyncio.create_task(_probe(system, registry, lambda: before if now() < due else during))
        await asyncio.sleep(max(0.0, (due - now()) / 1000))
        await arrivals.wait(facilities, "offline", 120)
        seconds = (now() - due) / 1000
        # The notifications of the keys come after that; they must not hold anybody up either.
        await asyncio.sleep(10)
        probes.cancel()
        await asyncio.gather(probes, return_exceptions=True)
        await browser.close()
        told = sum(status == "offline" for _, status in arrivals.at)
    context.progress(
        f"{told:,} facilities told offline in {seconds:.1f} s; slowest answer {max(during.answers):,.0f} ms"
    )
    return Mass(sessions, before, during, told, seconds)


async def _probe(system: System, registry: Registry, stalls: Callable[[], Stalls]) -> None:
    """Goes on until cancelled: a heartbeat by HTTP, one straight into Redis, and a look at the health, side by side."""

    async def by_http() -> None:
        started = time.perf_counter()
        await system.call("/heartbeat", "u-probe", {"sessionId": "s-1"})
        stalls().answers.append((time.perf_counter() - started) * 1000)

    async def into_redis() -> None:
        started = time.perf_counter()
        await registry.ingest([("probe", Heartbeat("u-probe", "s-2", product.now()))])
        stalls().redis.append((time.perf_counter() - started) * 1000)

    async def look() -> None:
        async with system.http.get(f"{system.api}/health") as answer:
            stalls().lag.append((await answer.json())["pipelineLagSeconds"] or 0.0)

    async def repeat(act: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            await act()
            await asyncio.sleep(pause)

    await asyncio.gather(repeat(by_http, 0.02), repeat(into_redis, 0.01), repeat(look, 0.5))


def _report(context: Context, found: dict[str, dict[int, Told]], mass: Mass) -> Report:
    rows: list[list[Cell]] = [
        [
            name,
            size,
            f"{len(told.lags) / _SILENT:.1%}",
            percentile(told.lags, 0.5),
            percentile(told.lags, 0.99),
            max(told.lags, default=None),
            told.server_percent,
        ]
        for name, by_size in found.items()
        for size, told in by_size.items()
    ]
    sizes = list(found[OURS])
    largest = sizes[-1]
    ours = found[OURS][largest]
    p99 = percentile(ours.lags, 0.99) or 0.0
    at_full = context.size == "full"
    stall = max(*mass.during.answers, *mass.during.redis)
    names = {OURS: "product", SOURCE: "source design", CENTRIFUGE: "hash + sorted set"}
    return Report(
        tables=[
            Table(
                f"{_SILENT:,} sessions fall silent at random moments among live ones; from deadline to notice",
                ["design", "live sessions", "noticed", "p50 ms", "p99 ms", "longest ms", "Redis, % of a processor"],
                rows,
            ),
            Table(
                f"{mass.sessions:,} sessions at {mass.sessions // _PER_FACILITY:,} facilities end in one millisecond; "
                f"{mass.told:,} facilities told offline {mass.seconds:.1f} s later",
                [
                    "what a caller meets, ms",
                    "p50 before",
                    "longest before",
                    "p50 during",
                    "p99 during",
                    "longest during",
                ],
                [
                    _stall("POST /heartbeat until its 202", mass.before.answers, mass.during.answers),
                    _stall("a heartbeat until Redis has applied it", mass.before.redis, mass.during.redis),
                    _stall(
                        "pipeline lag as /health tells it",
                        [lag * 1000 for lag in mass.before.lag],
                        [lag * 1000 for lag in mass.during.lag],
                    ),
                ],
            ),
        ],
        goals=[
            Goal(
                f"offline told to a browser among {largest:,} live sessions, p99",
                f"≤ {_GOAL_MS / 1000:g} s",
                f"{p99:,.0f} ms",
                p99 <= _GOAL_MS if at_full else None,
            ),
            Goal(
                "share told",
                "100 %",
                f"{len(ours.lags) / _SILENT:.1%}",
                len(ours.lags) == _SILENT,
            ),
            Goal(
                f"longest stall of a heartbeat while {mass.sessions:,} sessions end at once",
                f"≤ {_GOAL_STALL_MS / 1000:g} s",
                f"{stall:,.0f} ms",
                stall <= _GOAL_STALL_MS if at_full else None,
            ),
        ],
        charts=[
            Chart(
                "From deadline to notice, p99",
                "ms",
                [f"{size:,} live" for size in sizes],
                {
                    names[name]: [percentile(by_size[size].lags, 0.99) for size in sizes]
                    for name, by_size in found.items()
                },
                log=True,
                goal=_GOAL_MS,
            ),
            Chart(
                f"Noticed within {_WATCH:g} s of the last deadline",
                "% of 1,000",
                [f"{size:,} live" for size in sizes],
                {
                    names[name]: [len(by_size[size].lags) / _SILENT * 100 for size in sizes]
                    for name, by_size in found.items()
                },
            ),
        ],
        notes=[
            "The product's figures are taken at a browser behind the whole stack: Event Hubs, function app, Redis, Web "
            f"PubSub. The other two are taken in Redis alone, {_SILENT:,} deadlines over {_SPREAD:g} s, watched until "
            f"{_WATCH:g} s after the last one; percentiles are of those noticed.",
            "Live sessions have deadlines an hour ahead, so that only detection works. Mass silence (rule 7) is off.",
            "Presence that is purged when read notices nothing by itself; here a reader asks for every channel every "
            f"{_READ_EVERY:g} s, and the last column says what that costs.",
        ],
    )


def _stall(what: str, before: list[float], during: list[float]) -> list[Cell]:
    return [
        what,
        percentile(before, 0.5),
        max(before, default=None),
        percentile(during, 0.5),
        percentile(during, 0.99),
        max(during, default=None),
    ]


BENCH = Benchmark("detection", "How soon silence is noticed and told, among up to a million live sessions.", run)
