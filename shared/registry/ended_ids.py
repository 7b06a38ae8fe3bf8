"""Sessions ended by command, known in every process without a call to Redis on the heartbeat path."""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis

from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.registry.client import redis_errors, scored

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
KEEP_MS = 24 * 3600 * 1000
"""How long an ended session stays ended (contract: 24 h)."""
_OVERLAP_MS = 10_000
"""Clocks differ and writes overtake one another: each refresh reads this far back again."""


class EndedIds:
    """The ids are written to every partition alike; one of them is read here, newest first time, then only news."""

    def __init__(self, client: Redis, now: Callable[[], int]) -> None:
        self._client = client
        self._now = now
        self._until: dict[str, int] = {}
        self._newest = 0
        self._task: asyncio.Task[None] | None = None

    def contains(self, user_id: str, session_id: str, now: int) -> bool:
        """Returns whether the session was ended by command, as known here up to two seconds ago."""
        self._keep_refreshing()
        until = self._until.get(f"{user_id}/{session_id}")
        return until is not None and now <= until

    def add(self, user_id: str, session_id: str, until: int) -> None:
        """Takes in what this process has just ended, ahead of the next refresh."""
        self._until[f"{user_id}/{session_id}"] = until

    async def refresh(self) -> None:
        """Reads what has been ended since the last time. Raises DependencyUnavailableError("redis")."""
        source = keys.ALL_PARTITIONS[0].ended_ids
        with redis_errors():
            reply = await self._client.zrangebyscore(source, self._newest - _OVERLAP_MS, "+inf", withscores=True)
        rows = scored(reply)
        self._until |= rows
        self._newest = max(self._newest, *rows.values(), 0)

    def forget(self, now: int) -> None:
        """Drops what may come back by now."""
        self._until = {identity: until for identity, until in self._until.items() if until >= now}

    async def close(self) -> None:
        """Stops refreshing."""
        if self._task is not None:
            self._task.cancel()

    def _keep_refreshing(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._refresh_forever())

    async def _refresh_forever(self) -> None:
        while True:
            self.forget(self._now())
            try:
                await self.refresh()
            except DependencyUnavailableError as error:
                logger.warning("ended sessions not refreshed: %s", error)
            await asyncio.sleep(REFRESH_SECONDS)
