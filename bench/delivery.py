"""Through the whole local stack: from a heartbeat to the browsers, and how many heartbeats are accepted."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import load
from bench.load import Load, hammer
from bench.measuring import percentile, process_seconds
from bench.report import Benchmark, Cell, Chart, Context, Goal, Report, Table
from bench.system import BATCH, GATEWAY, Arrivals, System, now, running

_SETTINGS = {"SESSION_TTL_SECONDS": "30", "LEAVE_GRACE_SECONDS": "0"}
_SINGLE_USERS = 40  # of the demo directory: each alone at a facility that nobody of the others here belongs to
_BROWSERS = 10
_FACILITIES = 5_000
_CONNECTIONS = 64


@dataclass(frozen=True)
class Driven:
    """A load of calls with so many heartbeats each, and the processor seconds that the host used."""

    load: Load
    per_call: int
    used: float

    @property
    def rate(self) -> float:
        """Heartbeats accepted per second."""
        return self.load.rate * self.per_call

    @property
    def microseconds(self) -> float:
        """Processor time of the host per accepted heartbeat: HTTP, publishing, and ingest."""
        return self.used / max(1, self.load.statuses[202] * self.per_call) * 1e6


async def run(context: Context) -> Report:
    """Runs the three parts, each on a fresh stack."""
    started = time.perf_counter()
    async with running(context.directory / "demo", _SETTINGS) as system:
        await system.call("/heartbeat", "u-41", {"sessionId": "s-1"})
        start_seconds = time.perf_counter() - started
        context.progress(f"first heartbeat accepted after {start_seconds:.1f} s")
        online, offline = await _latencies(context, system, context.pick(100, 400))
        single, batches = await _throughput(context, system, context.pick(4.0, 12.0))
    told, messages = await _many_at_once(context)
    rows: list[list[Cell]] = [
        ["online, from the heartbeat's 202", len(online), *_percentiles(online)],
        ["offline after `leaving`, from its moment", len(offline), *_percentiles(offline)],
        [
            f"{_FACILITIES:,} facilities of a region, from the last 202, {_BROWSERS} browsers",
            len(told),
            *_percentiles(told),
        ],
    ]
    return Report(
        tables=[
            Table("Push to browsers, ms", ["what", "changes seen", "p50", "p99", "longest"], rows),
            Table(
                "Heartbeats accepted through the whole stack; clients, Event Hubs, Redis and host share the machine",
                [
                    "what",
                    "heartbeats/s",
                    "host, µs processor per heartbeat",
                    "p50 ms",
                    "p99 ms",
                    "longest ms",
                    "not accepted",
                ],
                [
                    [name, each.rate, each.microseconds, *_percentiles(each.load.latencies), each.load.refused]
                    for name, each in (
                        (f"POST /heartbeat, {_CONNECTIONS} connections", single),
                        ("POST /heartbeats with 1,000 each, 4 connections", batches),
                    )
                ],
            ),
        ],
        goals=[
            Goal("app start to first heartbeat accepted", "≤ 5 s", f"{start_seconds:.1f} s", start_seconds <= 5),
            _within("online announced after the 202, p99", 1_000, online, 0.99),
            Goal("single POSTs accepted, whole stack", "≥ 2,500/s", f"{single.rate:,.0f}/s", single.rate >= 2_500),
            Goal("in gateway batches, whole stack", "≥ 20,000/s", f"{batches.rate:,.0f}/s", batches.rate >= 20_000),
            _within(f"{_FACILITIES:,} facilities change together, at every browser", 2_000, told, 1.0),
        ],
        charts=[
            Chart(
                "Push to browsers",
                "ms",
                ["online", "left", f"{_FACILITIES:,} together"],
                {
                    "p50": [percentile(each, 0.5) for each in (online, offline, told)],
                    "p99": [percentile(each, 0.99) for each in (online, offline, told)],
                },
                goal=1_000,
            )
        ],
        notes=[
            f"{_FACILITIES:,} facilities together took {messages / _BROWSERS:.0f} messages per browser.",
            "A region's messages go out at most once per 250 ms, the first at once; that is part of these times.",
            "The load comes from one process beside the stack. By the clock: other load on the machine shows.",
        ],
    )


async def _latencies(context: Context, system: System, count: int) -> tuple[list[float], list[float]]:
    """Has facilities come and go at random moments; returns the milliseconds until the browser was told."""
    arrivals = Arrivals()
    browser = await system.browser(arrivals)
    online: list[float] = []
    offline: list[float] = []

    async def come_and_go(number: int) -> None:
        user, facility = f"u-{number}", f"f-{number}"
        for turn in range(max(1, count // _SINGLE_USERS)):
            await asyncio.sleep(random.uniform(0, 3))
            session = f"s-{turn}"
            await system.call("/heartbeat", user, {"sessionId": session})
            accepted = now()
            if await arrivals.wait([facility], "online", 10):
                online.append(arrivals.at.pop((facility, "online")) - accepted)
            arrivals.since.pop((facility, "online"), None)
            await system.call("/heartbeat", user, {"sessionId": session, "leaving": True})
            if await arrivals.wait([facility], "offline", 10):
                key = facility, "offline"
                offline.append(arrivals.at.pop(key) - arrivals.since.pop(key))

    await asyncio.gather(*(come_and_go(number) for number in range(1, _SINGLE_USERS + 1)))
    await browser.close()
    context.progress(f"online p99 {percentile(online, 0.99):.0f} ms, left p99 {percentile(offline, 0.99):.0f} ms")
    return online, offline


async def _throughput(context: Context, system: System, seconds: float) -> tuple[Driven, Driven]:
    users = [f"u-{number}" for number in range(41, 600)]
    single = await _drive(system, await system.single_posts(users), _CONNECTIONS, seconds, 1)
    context.progress(f"single POSTs: {single.rate:,.0f}/s, {dict(single.load.statuses)}")
    await asyncio.sleep(2)
    token = await system.token("gateway", GATEWAY)
    bodies = [
        load.post(
            system.api,
            "/heartbeats",
            token,
            json.dumps(
                {"heartbeats": [{"userId": users[n % len(users)], "sessionId": f"b-{part}-{n}"} for n in range(BATCH)]}
            ).encode(),
        )
        for part in range(10)
    ]
    batches = await _drive(system, lambda number: bodies[number % len(bodies)], 4, seconds, BATCH)
    context.progress(f"gateway batches: {batches.rate:,.0f} heartbeats/s, {dict(batches.load.statuses)}")
    return single, batches


async def _drive(
    system: System, request: Callable[[int], bytes], connections: int, seconds: float, per_call: int
) -> Driven:
    host = system.stack.pid("host-1") or 0
    used = process_seconds(host)
    answered = await hammer(system.api, request, connections, seconds)
    return Driven(answered, per_call, process_seconds(host) - used)


async def _many_at_once(context: Context) -> tuple[list[float], int]:
    """Brings every facility of a large region online at once; returns when each browser heard of each (ms)."""
    people = [(f"user-{number:05d}", f"f-{number:05d}") for number in range(_FACILITIES)]
    async with running(context.directory / "large", _SETTINGS, people=people) as system:
        seen = [Arrivals() for _ in range(_BROWSERS)]
        browsers = [await system.browser(each) for each in seen]
        beats = [(user, "s-1") for user, _ in people]
        await system.token("gateway", GATEWAY)
        await asyncio.gather(*(system.gateway(beats[at : at + BATCH]) for at in range(0, len(beats), BATCH)))
        accepted = now()
        facilities = [facility for _, facility in people]
        complete = await asyncio.gather(*(each.wait(facilities, "online", 30) for each in seen))
        if not all(complete):
            raise RuntimeError("not every browser heard of every facility within 30 s")
        told = [max(0.0, at - accepted) for each in seen for at in each.at.values()]
        messages = sum(browser.messages for browser in browsers)
        await asyncio.gather(*(browser.close() for browser in browsers))
    context.progress(f"{_FACILITIES:,} facilities at once: the last told after {max(told):.0f} ms")
    return told, messages


def _percentiles(values: list[float]) -> list[float | None]:
    return [percentile(values, 0.5), percentile(values, 0.99), max(values, default=None)]


def _within(what: str, limit: float, values: list[float], share: float) -> Goal:
    measured = percentile(values, share)
    said = "nothing arrived" if measured is None else f"{measured:,.0f} ms"
    return Goal(what, f"≤ {limit / 1000:g} s", said, measured is not None and measured <= limit)


BENCH = Benchmark("delivery", "Through the whole local stack: push to browsers, heartbeats accepted.", run)
