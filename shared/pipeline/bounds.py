"""Streams that stay bounded and watched, however long SQL or Web PubSub is away."""

import logging
from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from shared import metrics, telemetry
from shared.domain.facility import FacilityStatus
from shared.pipeline.agents import TRAFFIC_MAX_AGE
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.registry import Registry
from shared.stream.announcements import AnnouncementsOf, Unheard
from shared.stream.backlog import Backlog, GroupBacklog, trim
from shared.stream.entries import StatusEntry, UnknownEntryError, parse_change, parse_ended
from shared.stream.group import BROADCAST, CORE, SQL

CHANGES_LIMIT = 65_536
"""Entries of one `changes` stream. More than facilities in a partition, each of which keeps its newest change."""
ENDED_LIMIT = 131_072
"""Entries of one `ended` stream."""
URGENT_LIMIT = 8_192
"""Entries of one `agents-urgent` stream."""
_SHARE_KEPT = 0.9
"""What of a full stream is kept, so that it is not cut again in every run."""
_CHUNK = 1_000

_CHANGE_STREAMS = [partition.changes for partition in keys.ALL_PARTITIONS]
_ENDED_STREAMS = [partition.ended for partition in keys.ALL_PARTITIONS]


class StreamBounds:
    """Trims what every group has, and reports the rest. Raises DependencyUnavailableError("redis").

    Beyond its limit a stream gives way rather than fill Redis, which would stop presence itself, and says so:

    - `changes`: a change that a newer one of its facility has overtaken goes, the newest of each facility stays. Both
      databases and the browsers still end with the right state; the history misses the changes in between. Stale
      periods stay whole; of announcements that browsers have not heard the newest stays.
    - `ended`: the oldest ended sessions go; the session log misses them.
    - `agents-urgent`: the oldest news go; `GET /agents` has them. Of `agents-traffic` what is too late to tell goes, in
      case nobody takes it.
    """

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        now: Callable[[], int],
        *,
        changes_limit: int = CHANGES_LIMIT,
        ended_limit: int = ENDED_LIMIT,
        urgent_limit: int = URGENT_LIMIT,
    ) -> None:
        self._client = client
        self._registry = registry
        self._now = now
        self._changes_limit = changes_limit
        self._ended_limit = ended_limit
        self._urgent_limit = urgent_limit

    async def keep(self) -> None:
        """Trims, cuts what is beyond its limit, and reports what waits."""
        await self._bound_news()
        _, changes = await trim(self._client, _CHANGE_STREAMS, (BROADCAST, SQL, CORE))
        _, ended = await trim(self._client, _ENDED_STREAMS, (SQL,))
        self._report("changes", changes, self._changes_limit)
        self._report("ended", ended, self._ended_limit)
        for backlog in changes:
            if backlog.length > self._changes_limit:
                await self._cut_changes(backlog)
        for backlog in ended:
            if backlog.length > self._ended_limit:
                await self._cut_ended(backlog)

    async def _bound_news(self) -> None:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_USER_PARTITIONS:
                pipe.xtrim(partition.traffic, minid=max(0, self._now() - TRAFFIC_MAX_AGE), approximate=False)
                pipe.xtrim(partition.urgent, maxlen=self._urgent_limit, approximate=False)
            cut = (await pipe.execute())[1::2]
        for partition, dropped in zip(keys.ALL_USER_PARTITIONS, cut, strict=True):
            if dropped:
                telemetry.event(
                    "stream.cut", logging.ERROR, stream=partition.urgent, dropped=dropped, kept=self._urgent_limit
                )

    def _report(self, kind: str, backlogs: Sequence[Backlog], limit: int) -> None:
        measured: dict[str, tuple[int, float]] = {}
        for group in sorted({name for backlog in backlogs for name in backlog.groups}):
            found = [backlog.groups[group] for backlog in backlogs]
            oldest = min((item.oldest for item in found if item.oldest is not None), default=None)
            waiting, age = sum(item.waiting for item in found), 0 if oldest is None else max(0, self._now() - oldest)
            measured[group] = waiting, age / 1000
            telemetry.event(
                "stream.backlog",
                stream=kind,
                group=group,
                waiting=waiting,
                oldestSeconds=age / 1000,
                fullest=max(backlog.length for backlog in backlogs) / limit,
            )
        metrics.surveyed(kind, sum(backlog.length for backlog in backlogs), measured)

    async def _cut_changes(self, backlog: Backlog) -> None:
        dropped, again = 0, 0
        announcements = AnnouncementsOf(self._client, backlog.stream)
        excess = backlog.length - int(self._changes_limit * _SHARE_KEPT)
        while excess > 0:
            rows = await self._oldest(backlog.stream, min(_CHUNK, excess))
            if not rows:
                break
            excess -= len(rows)
            kept, unheard, lost = await self._weigh(rows, backlog)
            with redis_errors():
                pipe = self._client.pipeline(transaction=False)
                for fields in kept:
                    pipe.xadd(backlog.stream, fields)  # type: ignore[arg-type]
                pipe.hincrby(keys.COUNTERS, "dropped_changes", lost)
                await pipe.execute()
            moved = await announcements.move(unheard)
            # Only now: dying before this leaves duplicates, which are harmless, and loses nothing.
            await self._cut(backlog.stream, rows[-1][0])
            dropped, again = dropped + lost, again + len(kept) + moved
        telemetry.event("stream.cut", logging.ERROR, stream=backlog.stream, dropped=dropped, kept=again)

    async def _weigh(
        self, rows: Sequence[tuple[str, dict[str, str]]], backlog: Backlog
    ) -> tuple[list[dict[str, str]], list[Unheard], int]:
        """Returns what must go on waiting, announcements among it apart, and how many changes the history misses."""
        kept, unheard, statuses = [], [], []
        for entry_id, fields in rows:
            untold, unrecorded = (_waits(entry_id, backlog.groups[group]) for group in (BROADCAST, SQL))
            try:
                parsed = parse_change(fields)
            except UnknownEntryError:
                # To be set aside by whoever reads it.
                kept.append(fields)
                continue
            if isinstance(parsed, StatusEntry):
                # A departure is for a region that nothing newer of the facility goes to.
                if untold and parsed.change.status is FacilityStatus.REMOVED:
                    kept.append(fields)
                else:
                    statuses.append((parsed.change, fields, unrecorded))
            else:
                unheard.append(
                    Unheard(entry_id, fields, parsed, untold=untold and not parsed.told, unrecorded=unrecorded)
                )
        states = await self._registry.facility_states([change.facility_id for change, _, _ in statuses])
        lost = 0
        for (change, fields, unrecorded), state in zip(statuses, states, strict=True):
            if change.version >= state.version:
                kept.append(fields)
            else:
                lost += unrecorded
        return kept, [each for each in unheard if each.untold or each.unrecorded], lost

    async def _cut_ended(self, backlog: Backlog) -> None:
        dropped = 0
        excess = backlog.length - int(self._ended_limit * _SHARE_KEPT)
        while excess > 0:
            rows = await self._oldest(backlog.stream, min(_CHUNK, excess))
            if not rows:
                break
            excess -= len(rows)
            sessions = []
            for _, fields in rows:
                try:
                    sessions.append(parse_ended(fields))
                except UnknownEntryError as error:
                    logging.getLogger(__name__).warning("cut from %s: %s", backlog.stream, error)
            # Without its entry nothing else would ever let go of the session's value.
            await self._registry.purge(sessions)
            with redis_errors():
                await self._client.hincrby(keys.COUNTERS, "dropped_sessions", len(rows))
            await self._cut(backlog.stream, rows[-1][0])
            dropped += len(rows)
        telemetry.event("stream.cut", logging.ERROR, stream=backlog.stream, dropped=dropped, kept=0)

    async def _oldest(self, stream: str, count: int) -> list[tuple[str, dict[str, str]]]:
        with redis_errors():
            rows = await self._client.xrange(stream, count=count) or ()
        return [
            (text(entry_id), {text(name): text(value) for name, value in (fields or {}).items()})
            for entry_id, fields in rows
        ]

    async def _cut(self, stream: str, last: str) -> None:
        milliseconds, _, sequence = last.partition("-")
        with redis_errors():
            await self._client.xtrim(stream, minid=f"{milliseconds}-{int(sequence) + 1}", approximate=False)


def _waits(entry_id: str, group: GroupBacklog) -> bool:
    """Returns whether a group may not have acknowledged an entry yet."""
    return group.oldest is not None and int(entry_id.partition("-")[0]) >= group.oldest
