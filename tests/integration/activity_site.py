"""Activity from heartbeats to SQL, on a real Redis and SQLite, without the functions around it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from redis.asyncio import Redis

from shared.domain.activity import DAY, HOUR, MINUTE, ActivityHour, Counts, Granularity, totals
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import SessionTiming
from shared.domain.uptime import Span
from shared.pipeline.activity import ActivityFold
from shared.registry import keys
from shared.registry.activity import ActivityCounters
from shared.registry.keys import Partition
from shared.registry.registry import Registry
from shared.store.history import SqlHistoryStore
from shared.store.monitor import SqlMonitorStore
from shared.store.opening import open_history_store, open_monitor_store
from tests.integration.store_databases import execute

TTL, GRACE = 90_000, 5_000
NOON = 1_795_000_000_000 // DAY * DAY + 12 * HOUR


class _DiedError(Exception):
    """The process is gone."""


class Site:
    """Everything between heartbeats and SQL, without the functions around it."""

    def __init__(self, client: Redis, folder: Path) -> None:
        self.client = client
        self.address = f"sqlite:///{folder}/monitor.db"
        self.registry = Registry(client, SessionTiming(TTL, GRACE))
        self.counters = ActivityCounters(client)
        self.store: SqlMonitorStore = open_monitor_store(self.address)
        self.reader: SqlHistoryStore = open_history_store(self.address, lambda: NOON)
        self.store.migrate()
        self.time = NOON

    async def clear(self) -> None:
        await self.client.flushall()
        execute(self.address, "DELETE FROM facility_activity_hours")

    async def beat(self, *beats: tuple[str, int], facility: str = "f-1", leaving: bool = False) -> None:
        """Hears `user/session` at the given moments, each for the first time."""
        await self.registry.ingest([(facility, heartbeat(name, at, leaving=leaving)) for name, at in beats])

    async def sweep(self, watermark: int) -> None:
        for partition in keys.ALL_PARTITIONS:
            while (await self.registry.sweep(partition, watermark)).more:
                pass

    async def fold(self, now: int) -> int:
        async def renew() -> None:
            pass

        return await ActivityFold(self.counters, self.store, lambda: now).run(renew)

    async def fold_until(self, step: str, now: int, *, is_done: bool) -> bool:
        """A fold whose process dies before or after its first `step` with f-1: seal, enter, due, record or settle.

        Returns whether it came so far.
        """
        part: Any = self.store if step == "record" else self.counters
        name = "record_activity" if step == "record" else step
        whole = getattr(part, name)

        def record(hours: Sequence[ActivityHour]) -> None:
            if is_done:
                whole(hours)
            raise _DiedError

        async def ask(about: Partition | str, *others: object) -> object:
            concerns_it = isinstance(about, str) or about == keys.partition_of("f-1")
            answer = await whole(about, *others) if is_done or not concerns_it else None
            if concerns_it:
                raise _DiedError
            return answer

        with patch.object(part, name, record if step == "record" else ask):
            try:
                await self.fold(now)
            except _DiedError:
                return True
        return False

    async def copy(self) -> dict[bytes, bytes]:
        """All that Redis holds."""
        return {name: await self.client.dump(name) or b"" async for name in self.client.scan_iter(count=1_000)}

    async def put_back(self, copy: dict[bytes, bytes], *, epoch: int) -> None:
        """Redis goes back to a copy, and that is noticed."""
        await self.client.flushall()
        for name, value in copy.items():
            await self.client.restore(name, 0, value)
        await self.client.set(keys.EPOCH, epoch)

    async def go_back(self, *, held: int, recorded: int) -> None:
        """Redis goes back to a copy that holds the first `held` beats of f-1, while SQL has `recorded` of them."""
        await self.client.set(keys.EPOCH, 1)
        await self.fold(NOON)
        await self.beat(*(("u-1/a", NOON + number) for number in range(held)))
        copy = await self.copy()
        if recorded:
            await self.beat(*(("u-1/a", NOON + number) for number in range(held, recorded)))
            await self.fold(NOON + MINUTE)
        await self.put_back(copy, epoch=2)

    def recorded(self, facility: str = "f-1") -> Counts:
        """What SQL alone holds."""
        hours = self.reader.activity(facility, Span(0, NOON + 9 * DAY))
        return sum((hour.counts for hour in hours), Counts())

    async def hours(self, facility: str = "f-1") -> list[ActivityHour]:
        """What Redis and SQL hold together."""
        starts = range(NOON - DAY, NOON + 2 * DAY, HOUR)
        counted = [
            hour
            for at in range(0, len(starts), 40)
            for hour in await self.counters.hours(facility, starts[at : at + 40])
        ]
        newer = {(hour.start, hour.epoch) for hour in counted}
        recorded = self.reader.activity(facility, Span(0, NOON + 9 * DAY))
        return counted + [hour for hour in recorded if (hour.start, hour.epoch) not in newer]

    async def minutes(self, facility: str = "f-1") -> dict[int, Counts]:
        found = totals(await self.hours(facility), Granularity.MINUTE)
        return {start: bucket.counts for start, bucket in sorted(found.items())}

    async def total(self, facility: str = "f-1") -> Counts:
        return sum((await self.minutes(facility)).values(), Counts())


def heartbeat(name: str, at: int, *, leaving: bool = False) -> Heartbeat:
    user, _, session = name.partition("/")
    return Heartbeat(user, session, at, leaving=leaving)


@asynccontextmanager
async def opened(client: Redis, folder: Path) -> AsyncIterator[Site]:
    """A site whose databases are closed again."""
    site = Site(client, folder)
    try:
        yield site
    finally:
        site.store.close()
        site.reader.close()
