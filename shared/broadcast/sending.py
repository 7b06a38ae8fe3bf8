"""Numbered messages to a region's browsers, with what Web PubSub refuses left out."""

from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from shared import metrics
from shared.broadcast import messages
from shared.broadcast.outbox import Announcement, Batch, WaitingAnnouncement, WaitingChange
from shared.broadcast.push import PushService
from shared.errors import PushRefusedError
from shared.registry import keys
from shared.registry.client import redis_errors
from shared.registry.sequences import Sequences
from shared.stream.entries import AlertEntry
from shared.stream.isolating import Outcome, isolate

type Waiting = WaitingAnnouncement | WaitingChange
type Sent = Outcome[Waiting, PushRefusedError]

_ALERT_SEQUENCE_SECONDS = 3600
"""How long the webhook may ask under which number an alert went out."""


class RegionSender:
    """Sends to a region's group. One at a time per region, which the broadcaster sees to."""

    def __init__(self, client: Redis, sequences: Sequences, push: PushService, now: Callable[[], int]) -> None:
        self._client = client
        self._sequences = sequences
        self._push = push
        self._now = now

    async def send(self, batch: Batch) -> Sent:
        """Sends a batch in as few messages as its size allows; returns what went out and what was refused.

        Raises DependencyUnavailableError; then some may have gone out.
        """
        numbers = _Numbers(self._sequences, batch.region_id)
        if isinstance(batch.content, WaitingAnnouncement):
            return await self._send_announcement(batch.region_id, batch.content, numbers)
        sent: Sent = Outcome()
        for chunk in messages.in_messages(batch.content, lambda waiting: waiting.change):
            outcome = await self._send_changes(batch.region_id, chunk, numbers)
            sent.done += outcome.done
            sent.refused += outcome.refused
        return sent

    async def _send_announcement(self, region_id: str, waiting: WaitingAnnouncement, numbers: "_Numbers") -> Sent:
        number = await numbers.next()
        message = _announcement(region_id, number, waiting.announcement)
        if isinstance(waiting.announcement, AlertEntry):
            with redis_errors():
                key = keys.alert_sequence(waiting.announcement.alert_id)
                await self._client.set(key, number, ex=_ALERT_SEQUENCE_SECONDS)
        try:
            await self._push.send_to_group(messages.region_group(region_id), message)
        except PushRefusedError as error:
            return Outcome(refused=[(waiting, error)])
        return Outcome(done=[waiting])

    async def _send_changes(self, region_id: str, waiting: Sequence[WaitingChange], numbers: "_Numbers") -> Sent:
        async def send(part: Sequence[WaitingChange]) -> None:
            number = await numbers.next()
            message = messages.facility_status(region_id, number, [item.change for item in part])
            await self._push.send_to_group(messages.region_group(region_id), message)
            numbers.used()

        outcome = await isolate(waiting, send, PushRefusedError)
        metrics.announced((item.change for item in outcome.done), self._now())
        return Outcome(list(outcome.done), list(outcome.refused))


class _Numbers:
    """Draws a region's numbers. One whose message was refused has reached nobody, and serves the next message."""

    def __init__(self, sequences: Sequences, region_id: str) -> None:
        self._sequences = sequences
        self._region_id = region_id
        self._held: int | None = None

    async def next(self) -> int:
        """Returns the number for the next message."""
        if self._held is None:
            self._held = await self._sequences.draw(self._region_id)
        return self._held

    def used(self) -> None:
        """Notes that a message with the number may be out."""
        self._held = None


def _announcement(region_id: str, number: int, announcement: Announcement) -> dict[str, object]:
    if isinstance(announcement, AlertEntry):
        return messages.facility_alert(region_id, number, announcement)
    return messages.presence_stale(region_id, number, announcement)
