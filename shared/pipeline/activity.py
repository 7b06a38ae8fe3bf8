"""Activity on its way from Redis, where it is counted, to SQL, where it stays."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from shared.registry import keys
from shared.registry.activity import ActivityCounters
from shared.store.ports import MonitorStore

_BATCH = 200
"""Hours read per partition at once."""
_END_OF_TIME = 253_402_300_799_999
PER_RUN = 10_000
"""Hours of facilities written in one run. With more at work each waits for its turn, the API reads Redis until then."""


class ActivityFold:
    """Writes absolute numbers, so that whatever is repeated, by whom and when, changes nothing."""

    def __init__(self, counters: ActivityCounters, store: MonitorStore, now: Callable[[], int]) -> None:
        self._counters = counters
        self._store = store
        self._now = now

    async def run(self, renew: Callable[[], Awaitable[object]]) -> int:
        """Writes what is due and calls `renew` after each transaction; returns how many hours of facilities.

        In a new epoch of Redis data everything is due and then goes: where Redis has gone back to an older copy, SQL
        may hold more of an hour than it, and what is counted from now on would be taken for what SQL has. So it is
        counted anew and added.
        Raises DependencyUnavailableError or StoreError; nothing is settled before SQL has committed it.
        """
        epoch, written = await self._counters.epoch()
        is_older_copy = written is not None and epoch != written
        if is_older_copy:
            hours = await self._write(lambda: _END_OF_TIME, math.inf, renew)
        else:
            hours = await self._write(self._now, PER_RUN, renew)
        if epoch is not None and epoch != written:
            await self._counters.enter(epoch)
        return hours

    async def _write(self, now: Callable[[], int], limit: float, renew: Callable[[], Awaitable[object]]) -> int:
        written = 0
        open_partitions = list(keys.ALL_PARTITIONS)
        while open_partitions and written < limit:
            at = now()
            due = dict(
                zip(
                    open_partitions,
                    await asyncio.gather(*(self._counters.due(each, at, _BATCH) for each in open_partitions)),
                    strict=True,
                )
            )
            hours = [hour.activity for found in due.values() for hour in found if hour.activity.minutes]
            if hours:
                await self._store.thread.run(self._store.record_activity, hours)
            await asyncio.gather(*(self._counters.settle(each, found, at) for each, found in due.items()))
            written += len(hours)
            open_partitions = [each for each, found in due.items() if len(found) == _BATCH]
            await renew()
        return written
