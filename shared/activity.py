"""What happened at a facility by minute, hour or day: SQL, completed by what Redis still counts."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.domain.activity import DAY, HOUR, ActivityHour, Bucket, Counts, Granularity, spans, totals
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.instants import to_iso
from shared.domain.uptime import Span
from shared.errors import DependencyUnavailableError
from shared.problems import FieldError, InvalidRequestError
from shared.registry.activity import ActivityCounters
from shared.registry.registry import Registry
from shared.requests import ActivityQuery, RegionActivityQuery
from shared.store.ports import HistoryStore

logger = logging.getLogger(__name__)

_LIVE_SECONDS = 1.0
"""How long Redis is waited for; SQL alone is the answer then."""

USUAL_RANGE = {Granularity.MINUTE: HOUR, Granularity.HOUR: DAY, Granularity.DAY: 30 * DAY}
LONGEST_RANGE = {Granularity.MINUTE: DAY, Granularity.HOUR: 31 * DAY, Granularity.DAY: 400 * DAY}
LONGEST_REGION_RANGE = 31 * DAY
_IN_REDIS = 48 * HOUR
"""How far back Redis is asked. Older hours are there only when SQL has been away that long."""
_EVER = Span(0, 253_402_300_799_999)
_ABOVE_EVERY_VERSION = 2**62


class FacilityActivity:
    """Raises DependencyUnavailableError("sql"). Without Redis it answers with what SQL holds."""

    def __init__(
        self, store: HistoryStore, counters: ActivityCounters, registry: Registry, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._counters = counters
        self._registry = registry
        self._now = now

    async def buckets(self, facility_id: str, query: ActivityQuery) -> list[Bucket]:
        """Returns the buckets that a query asks for, oldest first.

        Buckets are whole, also where the range begins or ends inside one. One in which nothing happened, and one that
        has not begun, is left out. Raises InvalidRequestError.
        """
        now, granularity = self._now(), query.granularity
        whole = _whole_buckets(query, now, LONGEST_RANGE[granularity], f"with granularity {granularity}")
        if not whole:
            return []

        # What is kept is kept by the hour.
        span = Span(whole[0].start - whole[0].start % HOUR, whole[-1].end)
        recent = Span(max(span.start, now - _IN_REDIS), min(span.end, now + HOUR))
        counted, unrecorded = await self._live(facility_id, recent)
        # After Redis: an hour that leaves it meanwhile is in SQL by then.
        recorded = await self._store.thread.answer(self._store.activity, facility_id, span)
        newer = {(hour.start, hour.epoch) for hour in counted}
        hours = [*counted, *(hour for hour in recorded if (hour.start, hour.epoch) not in newer)]
        found = totals(hours, granularity)
        online = await self._store.thread.answer(self._online, facility_id, whole, unrecorded, now)
        users = None if granularity is Granularity.MINUTE else 0
        buckets = (
            replace(found.get(each.start, Bucket(each.start, users=users)), online=online[each.start]) for each in whole
        )
        return [bucket for bucket in buckets if not bucket.empty]

    async def region_buckets(self, facility_ids: Sequence[str], query: RegionActivityQuery) -> list[Bucket]:
        """Returns what was counted at all these facilities together, oldest first, from SQL alone.

        Buckets are whole; one in which nothing happened is left out. Raises InvalidRequestError.
        """
        granularity = query.granularity
        whole = _whole_buckets(query, self._now(), LONGEST_REGION_RANGE, "for a region")
        if not whole:
            return []
        span = Span(whole[0].start, whole[-1].end)
        by_hour = await self._store.thread.answer(self._store.activity_sums, facility_ids, span)
        found: dict[int, Counts] = {}
        for start, counts in sorted(by_hour.items()):
            begun = start - start % granularity.length
            found[begun] = found.get(begun, Counts()) + counts
        return [Bucket(start, counts) for start, counts in found.items() if counts.total]

    async def _live(self, facility_id: str, recent: Span) -> tuple[list[ActivityHour], list[FacilityChange]]:
        """Returns what Redis counts, and the transitions that are not in SQL yet."""
        newest = await self._store.thread.answer(
            lambda: self._store.transitions(facility_id, _EVER, before=_ABOVE_EVERY_VERSION, limit=1)
        )
        version = newest[0].version if newest else 0
        try:
            async with asyncio.timeout(_LIVE_SECONDS):
                return await self._counted(facility_id, recent, version)
        except (DependencyUnavailableError, TimeoutError) as error:
            logger.warning("activity of %s from SQL alone: %s", facility_id, error or "no answer from Redis")
            return [], []

    async def _counted(
        self, facility_id: str, recent: Span, version: int
    ) -> tuple[list[ActivityHour], list[FacilityChange]]:
        [state] = await self._registry.facility_states([facility_id])
        unrecorded = await self._counters.transitions(facility_id, version) if state.version > version else []
        counted = await self._counters.hours(facility_id, (hour.start for hour in spans(recent, Granularity.HOUR)))
        return counted, unrecorded

    def _online(
        self, facility_id: str, whole: Sequence[Span], unrecorded: Sequence[FacilityChange], now: int
    ) -> dict[int, int | None]:
        """Returns the time online in each bucket, None where it is not recorded any more."""
        known_until = min([now, *(change.since for change in unrecorded)])
        in_sql = [Span(each.start, min(each.end, known_until)) for each in whole if each.start < known_until]
        recorded = self._store.online_time(facility_id, in_sql)
        ends = [*(change.since for change in unrecorded[1:]), now]
        since_then = [
            Span(change.since, end)
            for change, end in zip(unrecorded, ends, strict=False)
            if change.status is FacilityStatus.ONLINE
        ]
        known_since = self._store.known_since(facility_id)
        online: dict[int, int | None] = {}
        for each in whole:
            added = (min(each.end, span.end) - max(each.start, span.start) for span in since_then)
            time = recorded.get(each.start, 0) + sum(length for length in added if length > 0)
            online[each.start] = None if known_since is not None and each.start < known_since else time
        return online


def _whole_buckets(query: ActivityQuery | RegionActivityQuery, now: int, longest: int, what: str) -> list[Span]:
    """Returns the buckets that a query touches and that have begun. Raises InvalidRequestError over `longest` (ms)."""
    asked = query.span(now, length=USUAL_RANGE[query.granularity])
    if asked.length > longest:
        text = f"should be at most {longest // DAY} d before `to` {what}"
        raise InvalidRequestError([FieldError("/from", text)])
    return list(spans(Span(asked.start, min(asked.end, now)), query.granularity))


def region_item(bucket: Bucket) -> dict[str, object]:
    """Returns a region's bucket as the API shows it."""
    counts = bucket.counts
    return {
        "start": to_iso(bucket.start),
        "heartbeats": counts.heartbeats,
        "sessionsStarted": counts.started,
        "sessionsEnded": {"expired": counts.expired, "left": counts.left, "ended": counts.ended},
    }


def bucket_item(bucket: Bucket) -> dict[str, object]:
    """Returns a bucket as the API shows it."""
    item = {**region_item(bucket), "onlineSeconds": None if bucket.online is None else bucket.online / 1000}
    return item if bucket.users is None else item | {"uniqueUsers": bucket.users}
