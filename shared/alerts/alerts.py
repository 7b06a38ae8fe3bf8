"""Who is to be alerted about now. The scripts that make transitions keep the lists, so cost follows what is due."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.alerts.webhook import Webhook
from shared.domain.alert import AlertState, AnnouncedAlert
from shared.domain.facility import FacilityState, FacilityStatus
from shared.errors import DirectoryMissingError
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.directory_cache import DirectoryCache
from shared.registry.scripts import load

_LIMIT = 500
"""Facilities of a partition looked at in one round; the next second takes the next ones."""


@dataclass(frozen=True, slots=True)
class AlertTiming:
    """Milliseconds: how long offline is too long, and for how long the same facility is not announced again."""

    after: int
    cooldown: int


class Alerts:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, directory: DirectoryCache, timing: AlertTiming, webhook: Webhook | None) -> None:
        """Without `webhook` alerts go to browsers alone."""
        self._client = client
        self._directory = directory
        self._timing = timing
        self._webhook = webhook
        self._alert = load(client, "alert")

    async def announce(self, reached: int) -> int:
        """Announces whoever has been offline for too long at `reached` (ms), and who is back; returns how many.

        Each alert is appended to the stream of changes in the script that decides it, so it goes out exactly when it
        counts as announced. Not to be called while the pipeline is stale.
        """
        due = await self._due(reached)
        if not any(due.values()):
            return 0
        try:
            view = await self._directory.view()
        except DirectoryMissingError:
            return 0
        known = {
            partition: [facility for facility in facilities if view.facility(facility)]
            for partition, facilities in due.items()
        }
        settings = self._timing.after, self._timing.cooldown, int(self._webhook is not None)
        with redis_errors():
            await self._forget(due, known)
            announced = await asyncio.gather(
                *(
                    self._alert(
                        keys=partition.script_keys(),
                        args=[partition.tag, 0, 0, reached, *settings, *facilities],
                    )
                    for partition, facilities in known.items()
                    if facilities
                )
            )
        return sum(announced)

    def call_webhook(self) -> None:
        """Has the webhook called in the background with what waits for it; returns at once."""
        if self._webhook is not None:
            self._webhook.wake()

    async def restore(self, states: Iterable[FacilityState], announced: Iterable[AnnouncedAlert], loss: int) -> None:
        """Rebuilds lists and cool-downs after a loss of Redis data at `loss` (ms), from what SQL has recorded.

        What was due before the loss counts as announced when it was due, so that nobody is alerted twice, though the
        announcement itself may not have reached SQL. A return that is not recorded as announced is announced: twice at
        the worst, under the same id, rather than never. Where Redis holds an older copy of the lists, what is recorded
        replaces it.
        """
        newest = {(alert.facility_id, alert.state): alert for alert in announced}
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for state in states:
                partition, facility_id, since = keys.partition_of(state.facility_id), state.facility_id, state.since
                for key in (partition.offline, partition.alerted, partition.recovered):
                    pipe.zrem(key, facility_id)
                if since is None:
                    continue
                told = newest.get((facility_id, AlertState.OFFLINE))
                back = newest.get((facility_id, AlertState.RECOVERED))
                is_open = told is not None and (back is None or back.since < told.since)
                cool_at = 0 if told is None else told.at + self._timing.cooldown
                if state.status is FacilityStatus.OFFLINE:
                    due = max(since + self._timing.after, cool_at)
                    if not is_open and due <= loss:
                        is_open, cool_at = True, due + self._timing.cooldown
                    pipe.zadd(partition.alerted if is_open else partition.offline, {facility_id: since})
                elif is_open:
                    pipe.zadd(partition.recovered, {facility_id: since})
                if cool_at > loss:
                    pipe.set(partition.alert_cooldown(facility_id), "", px=cool_at - loss)
            await pipe.execute()

    async def _due(self, reached: int) -> dict[keys.Partition, list[str]]:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zrange(partition.recovered, 0, _LIMIT - 1)
                pipe.zrange(partition.offline, "-inf", reached - self._timing.after, byscore=True, offset=0, num=_LIMIT)
            replies = await pipe.execute()
        return {
            partition: [text(facility) for facility in [*back, *offline]]
            for partition, back, offline in zip(keys.ALL_PARTITIONS, replies[::2], replies[1::2], strict=True)
        }

    async def _forget(self, due: dict[keys.Partition, list[str]], known: dict[keys.Partition, list[str]]) -> None:
        """Drops facilities that the directory does not know: their last sessions ended after they had left it."""
        pipe = self._client.pipeline(transaction=False)
        for partition, facilities in due.items():
            gone = set(facilities) - set(known[partition])
            if gone:
                pipe.zrem(partition.recovered, *gone)
                pipe.zrem(partition.offline, *gone)
        await pipe.execute()
