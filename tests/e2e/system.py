"""A running stack with people in front of it."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from emulators.stack import Stack
from shared.registry import keys
from tests.e2e.front_ends import DEADLINE, FrontEnds, Listener

POLL_SECONDS = 0.05
TTL, GRACE = 2.0, 1.5
SETTINGS = {
    "SESSION_TTL_SECONDS": str(TTL),
    "LEAVE_GRACE_SECONDS": str(GRACE),
    "MONITOR_SCHEDULE": "*/2 * * * * *",
    # Few people are here, and often all of them fall silent at once.
    "MASS_SILENCE_HOLD_SECONDS": "0",
    "HOST_PARTITION_OWNERSHIP_SECONDS": "3",
    "HOST_SINGLETON_LEASE_SECONDS": "3",
    "HOST_SINGLETON_RECOVERY_SECONDS": "1",
}


async def eventually[T](ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Returns the first answer that is not empty; for what announces itself to nobody."""
    give_up_at = time.monotonic() + DEADLINE
    while not (found := await ask()):
        assert time.monotonic() < give_up_at, f"not within {DEADLINE:.0f} s: {what}"
        await asyncio.sleep(POLL_SECONDS)
    return found


@dataclass
class System:
    """A stack, its people, and the live feed of one of them who sees all regions."""

    stack: Stack
    people: FrontEnds
    feed: Listener
    redis: Redis

    def partition_owners(self) -> dict[str, str]:
        """Returns which host, named at random at its start, reads which partition of the event hub."""
        storage = f"sqlite:///{self.stack.directory}/host-storage/storage.db"
        return dict(_rows(storage, "SELECT partition_id, owner FROM ownerships", ()))

    async def decided(self, facility: str, instant: str) -> None:
        """Returns once every end at a facility that was due at an instant has been decided."""
        due = datetime.fromisoformat(instant).timestamp() * 1000

        async def ask() -> bool:
            return int(await self.redis.get(keys.partition_of(facility).watermark) or 0) >= due

        await eventually(ask, f"{facility} decided up to {instant}")

    async def counter(self, name: str) -> int:
        return int(await self.redis.hget(keys.COUNTERS, name) or 0)

    def monitor_rows(self, query: str, *parameters: str) -> list[tuple[Any, ...]]:
        return _rows(self.stack.addresses.sql_monitor, query, parameters)

    def core_rows(self, query: str, *parameters: str) -> list[tuple[Any, ...]]:
        return _rows(self.stack.addresses.sql_core, query, parameters)

    async def history(self, facility: str, versions: int) -> list[tuple[int, str, str, str]]:
        """Returns (version, status, at, reason) of a facility, oldest first, once the monitor has written so many."""

        async def ask() -> list[tuple[int, str, str, str]]:
            query = "SELECT version, status, at, reason FROM facility_status_history WHERE facility_id = ? ORDER BY 1"
            rows = self.monitor_rows(query, facility)
            return rows if len(rows) >= versions else []

        return await eventually(ask, f"{versions} rows of {facility} in the history")


@asynccontextmanager
async def running_system(
    directory: Path, settings: Mapping[str, str] = SETTINGS, *, hosts: int = 1
) -> AsyncIterator[System]:
    """Starts a stack in a directory, with somebody listening before anything happens."""
    async with Stack(directory, settings, hosts=hosts) as stack:
        at = stack.addresses
        host, port = at.redis.split(":")
        async with FrontEnds(at.identity, at.hosts) as people, Redis(host=host, port=int(port)) as redis:
            yield System(stack, people, await people.listen(), redis)


def _rows(address: str, query: str, parameters: tuple[str, ...]) -> list[tuple[Any, ...]]:
    path = address.removeprefix("sqlite:///")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(query, parameters).fetchall()
