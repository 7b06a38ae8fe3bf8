"""What a run of the minute monitor costs: with nothing to do, and with ever more facilities that have changed."""

import asyncio
import gc
import time
from collections.abc import Sequence

from bench import product
from bench.measuring import redis_server, server_seconds, spread
from bench.report import Benchmark, Chart, Context, Goal, Report, Table
from shared.bootstrap import Services
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import SessionTiming
from shared.registry import keys
from shared.registry.registry import Registry

_SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
_GOALS = {0.0: 0.1, 0.01: 2.0}
_BATCH = 5_000
_IDLE_RUNS = 9
_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE

Session = tuple[str, str, str]


class Quiet:
    """Stands for whoever would go on with what is made here, and is not measured."""

    def wake(self) -> None:
        """Does nothing."""


class World:
    """The product on a clock of its own, so that minutes pass at once and nobody's session expires."""

    def __init__(self, up: Services, sessions: Sequence[Session]) -> None:
        self.up = up
        self.sessions = sessions
        # At the start of a minute: what is counted in the next five seconds is due a minute later, in every run alike.
        self.time = product.now() // _MINUTE * _MINUTE
        self.up.__dict__.update(now=lambda: self.time, broadcaster=Quiet(), agent_announcer=Quiet())

    async def beat(self, sessions: Sequence[Session], *, leaving: bool = False) -> None:
        """Has these sessions heard, or say goodbye."""
        for at in range(0, len(sessions), _BATCH):
            await self.up.registry.ingest(
                (facility, Heartbeat(user, session, self.time, leaving=leaving))
                for user, session, facility in sessions[at : at + _BATCH]
            )

    async def sweep(self) -> None:
        """Ends whoever said goodbye; the others were heard less than a day ago."""
        self.time += _MINUTE
        for partition in keys.ALL_PARTITIONS:
            while (await self.up.registry.sweep(partition, self.time)).more:
                pass

    async def follow(self) -> None:
        """Lets agents follow what happened to their sessions, as the product does all the time beside the monitor."""
        self.up.agent_follower.wake()
        streams = [partition.presence for partition in keys.ALL_PARTITIONS]
        while any([await self.up.redis.xlen(stream) for stream in streams]):
            await asyncio.sleep(0.05)
            self.up.agent_follower.wake()
        # What would go to admins and users.
        await self.up.redis.unlink(*(each for user in keys.ALL_USER_PARTITIONS for each in (user.urgent, user.traffic)))

    async def run(self) -> tuple[float, float]:
        """Has the monitor run once; returns the seconds by the clock, and of the server's processor."""
        gc.collect()
        server, begun = await server_seconds(self.up.redis), time.perf_counter()
        await self.up.monitor.run()
        return time.perf_counter() - begun, await server_seconds(self.up.redis) - server

    async def settle(self) -> None:
        """Has the monitor run until nothing is left to do, all minutes over."""
        await self.follow()
        self.time += _MINUTE
        for _ in range(1_000):
            await self.up.monitor.run()
            due = [
                await self.up.redis.zcount(partition.activity_due, "-inf", self.time)
                for partition in keys.ALL_PARTITIONS
            ]
            if not any(due):
                return
        raise RuntimeError("the monitor does not come to an end")


async def _run(context: Context) -> Report:
    count = context.pick(40_000, 1_000_000)
    sessions = list(product.people(count))
    facilities = count // product.PER_FACILITY
    async with redis_server(context.directory) as client:
        up = product.services(client, context.directory)
        up.__dict__["registry"] = Registry(up.redis, SessionTiming(ttl=_DAY, leave_grace=5_000))
        world = World(up, sessions)
        context.progress(f"{count} sessions at {facilities} facilities")
        await asyncio.to_thread(up.core_store.migrate)
        directory = product.directory_of([(user, facility) for user, _, facility in sessions])
        await asyncio.to_thread(up.core_store.replace_directory, directory)
        await up.monitor.run()
        await world.beat(sessions)
        await world.settle()

        rows: list[tuple[float, int, int, float, float, float]] = []
        for share in _SHARES:
            changed = round(facilities * share)
            seconds, server = [], []
            for _ in range(_IDLE_RUNS if share == 0 else 3):
                there = sessions[: changed * product.PER_FACILITY]
                await world.beat(there, leaving=True)
                await world.sweep()
                await world.follow()
                spent = await world.run()
                seconds.append(spent[0])
                server.append(spent[1])
                world.time += _MINUTE
                await world.beat(there)
                await world.settle()
            middle, least, most = spread(seconds)
            rows.append((share, changed, changed * product.PER_FACILITY, middle, most, spread(server)[0]))
            context.progress(f"{share:.1%} changed: {middle:.3f} s ({least:.3f} to {most:.3f})")
        await up.agent_follower.close()
        for store in (up.monitor_store, up.core_store):
            store.close()
    return _report(context, count, facilities, rows)


def _report(
    context: Context, count: int, facilities: int, rows: Sequence[tuple[float, int, int, float, float, float]]
) -> Report:
    table = Table(
        f"A run of the monitor at {count:,} sessions and {facilities:,} facilities, SQLite, seconds",
        ["facilities changed", "number", "sessions ended", "median", "greatest", "of it Redis"],
        [
            [f"{share:.1%}", changed, ended, middle, most, server]
            for share, changed, ended, middle, most, server in rows
        ],
    )
    is_full = context.size == "full"
    goals = [
        Goal(
            "a run with nothing changed" if share == 0 else f"a run with {share:.0%} of the facilities changed",
            f"≤ {_GOALS[share]} s",
            f"{middle:.3f} s",
            middle <= _GOALS[share] if is_full else None,
        )
        for share, _, _, middle, _, _ in rows
        if share in _GOALS
    ]
    chart = Chart(
        "A run of the minute monitor",
        "s",
        [f"{row[0]:.1%}" for row in rows],
        {"median": [row[3] for row in rows], "greatest": [row[4] for row in rows]},
        log=True,
    )
    notes = [
        "Changed: all sessions of these facilities said goodbye. A run then records the transitions in both databases, "
        "logs and removes each ended session, and writes the activity of the facilities.",
        "Not in it: what the sweep and the agents do beside the monitor.",
        "SQLite tells whether anybody has written, so a run with nothing changed does not read the directory. On SQL "
        "Server every run reads and hashes it (`docs/decisions.md`): that is not in it either.",
    ]
    return Report([table], goals, [chart], notes)


BENCH = Benchmark("monitor", "what a run of the minute monitor costs, by how much has changed", _run)
