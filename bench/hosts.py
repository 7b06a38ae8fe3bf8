"""One, two and four function app hosts under the same load: how the work spreads."""

import asyncio
import contextlib
import json
import sqlite3
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench import load
from bench.measuring import process_seconds
from bench.report import Benchmark, Cell, Chart, Context, Goal, Report, Table
from bench.system import GATEWAY, System, running

_HOSTS = (1, 2, 4)
_CALLS = 60  # gateway calls a second over all hosts
_PER_CALL = 20
_SETTINGS = {"SESSION_TTL_SECONDS": "90", "HOST_PARTITION_OWNERSHIP_SECONDS": "10"}
_BALANCE_SECONDS = 45.0


@dataclass(frozen=True)
class Spread:
    """Per host, in percent of a processor: at rest, and under the load; and how many partitions it reads."""

    idle: Sequence[float]
    busy: Sequence[float]
    partitions: Sequence[int]
    accepted: int


async def run(context: Context) -> Report:
    """Gives the same heartbeats a second to one host, to two and to four, in turn by round robin."""
    seconds = context.pick(6.0, 20.0)
    found: dict[int, Spread] = {}
    for hosts in _HOSTS:
        async with running(context.directory / f"hosts-{hosts}", _SETTINGS, hosts=hosts) as system:
            partitions = await _balanced(system, hosts)
            idle = await _used(system, seconds / 2, None)
            accepted: list[int] = []
            busy = await _used(system, seconds, accepted)
            found[hosts] = Spread(idle, busy, partitions, sum(accepted))
            context.progress(f"{hosts} hosts: {', '.join(f'{each:.0f} %' for each in busy)} of a processor each")
    return _report(found, seconds)


async def _balanced(system: System, hosts: int) -> list[int]:
    """Waits until every host reads its share of the event hub's partitions; returns how many each reads."""
    until = time.monotonic() + _BALANCE_SECONDS
    while True:
        owned = await asyncio.to_thread(_owned, system)
        if (len(owned) == hosts and max(owned) - min(owned) <= 1) or time.monotonic() > until:
            return owned
        await asyncio.sleep(0.5)


def _owned(system: System) -> list[int]:
    storage = system.stack.directory / "host-storage" / "storage.db"
    with contextlib.closing(sqlite3.connect(storage)) as database:
        rows = database.execute("SELECT count(*) FROM ownerships WHERE owner <> '' GROUP BY owner").fetchall()
    return [int(row[0]) for row in rows]


async def _used(system: System, seconds: float, accepted: list[int] | None) -> list[float]:
    """Returns the percentage of a processor that each host uses meanwhile; under load if `accepted` is given."""
    pids = [system.stack.pid(name) or 0 for name in system.stack.plan.hosts]
    before, clock = [process_seconds(pid) for pid in pids], time.monotonic()
    if accepted is None:
        await asyncio.sleep(seconds)
    else:
        accepted.append(await _load(system, seconds))
    clock = time.monotonic() - clock
    return [(process_seconds(pid) - used) / clock * 100 for pid, used in zip(pids, before, strict=True)]


async def _load(system: System, seconds: float) -> int:
    """Sends calls at an even rate, each to the next host; returns the heartbeats accepted."""
    token = await system.token("gateway", GATEWAY)
    requests: dict[str, list[bytes]] = {}
    for api in system.stack.addresses.hosts:
        requests[api] = [load.post(api, "/heartbeats", token, _body(part)) for part in range(40)]
    pause = len(requests) / _CALLS
    loads = await asyncio.gather(
        *(
            load.hammer(api, lambda number, made=made: made[number % len(made)], 1, seconds, pause)  # type: ignore[misc]
            for api, made in requests.items()
        )
    )
    return sum(each.statuses[202] for each in loads) * _PER_CALL


def _body(part: int) -> bytes:
    beats = [{"userId": f"u-{part * 10 + n % 10 + 41}", "sessionId": f"s-{n}"} for n in range(_PER_CALL)]
    return json.dumps({"heartbeats": beats}).encode()


def _report(found: dict[int, Spread], seconds: float) -> Report:
    rows: list[list[Cell]] = []
    work: dict[int, float] = {}
    for hosts, spread in found.items():
        work[hosts] = statistics.mean(spread.busy)
        rows.append(
            [
                hosts,
                spread.accepted / seconds,
                spread.accepted / seconds / hosts,
                ", ".join(str(count) for count in spread.partitions),
                statistics.mean(spread.idle),
                work[hosts],
                max(spread.busy),
                (sum(spread.busy) - sum(spread.idle)) / (spread.accepted / seconds) * 1e4,
            ]
        )
    falls = all(work[fewer] > work[more] for fewer, more in pairwise(_HOSTS))
    return Report(
        tables=[
            Table(
                f"The same load, {_CALLS} gateway calls a second of {_PER_CALL} heartbeats, each to the next host",
                [
                    "hosts",
                    "heartbeats/s",
                    "per host",
                    "partitions read",
                    "at rest, % of a processor per host",
                    "under load, % per host",
                    "the busiest host, %",
                    "µs processor per heartbeat, all hosts",
                ],
                rows,
            )
        ],
        goals=[
            Goal(
                "work per instance",
                "falls as hosts are added",
                " → ".join(f"{work[hosts]:.0f} %" for hosts in _HOSTS),
                falls,
            )
        ],
        charts=[
            Chart(
                "Processor time per host under the same load",
                "% of one",
                [f"{hosts} host{'s' * (hosts > 1)}" for hosts in _HOSTS],
                {
                    "at rest": [statistics.mean(found[hosts].idle) for hosts in _HOSTS],
                    "under load": [work[hosts] for hosts in _HOSTS],
                },
            )
        ],
        notes=[
            "Processor time as the operating system counts it per host process. A host that holds the timers (the "
            "sweep once a second, the monitor once a minute) does more than its share: the busiest host shows it.",
        ],
    )


BENCH = Benchmark("hosts", "One, two and four function app hosts under the same load.", run)
