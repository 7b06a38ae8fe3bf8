"""Activity on its way from Redis, where it is counted, to SQL, where it stays."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.registry import keys
from shared.registry.activity import ActivityCounters
from shared.store.ports import MonitorStore

BATCH = 200
"""Hours, and days that are over, read per partition at once."""
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

        In a new epoch of Redis data all hours are sealed first. Redis may have gone back to an older copy, in which SQL
        has more of an hour than it: what is counted from now on would be taken for what SQL has. So it counts anew, and
        SQL adds it; of what was sealed SQL keeps the fuller account.
        Raises DependencyUnavailableError or StoreError; nothing is settled before SQL has committed it.
        """
        epoch, sealed = await self._counters.epoch()
        if epoch is not None and epoch != sealed:
            await asyncio.gather(*(self._counters.seal(each) for each in keys.ALL_PARTITIONS))
            # Not before all are: whoever dies in between leaves it to the next run, which may seal an hour twice.
            await self._counters.enter(epoch)
            await renew()
        return await self._write(renew)

    async def _write(self, renew: Callable[[], Awaitable[object]]) -> int:
        written, of_this_run = 0, 0
        open_partitions = list(keys.ALL_PARTITIONS)
        # Sealed hours come first and do not count: the API does not see them before they are in SQL.
        while open_partitions and of_this_run < PER_RUN:
            now = self._now()
            pages = dict(
                zip(
                    open_partitions,
                    await asyncio.gather(*(self._counters.due(each, now, BATCH) for each in open_partitions)),
                    strict=True,
                )
            )
            hours = [hour for page in pages.values() for hour in page.hours if hour.activity.minutes]
            if hours:
                activities = [hour.activity for hour in hours]
                await self._store.thread.run(self._store.record_activity, activities)
            await asyncio.gather(*(self._counters.settle(each, page.hours, now) for each, page in pages.items()))
            written += len(hours)
            of_this_run += sum(not hour.is_sealed for hour in hours)
            open_partitions = [each for each, page in pages.items() if page.looked == BATCH]
            await renew()
        return written
