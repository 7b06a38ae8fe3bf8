"""Changes to browsers: whoever made a change wakes a broadcaster, and one of them, by lease, sends for all.

    acquire the lease ─▶ pending entries, then new ones ─▶ coalesce per region ─▶ number ─▶ send ─▶ acknowledge
           ▲                                                                                      │
           └──── give the lease back, unless somebody appended meanwhile ◀── nothing left ◀────────┘

A holder that dies leaves its entries pending; its successor sends them again under new numbers, which clients see as
newer messages with versions they know. A number drawn but never sent is a gap, which makes clients read the snapshot.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from shared import metrics
from shared.broadcast import messages
from shared.broadcast.outbox import Batch, Outbox
from shared.broadcast.push import PushService
from shared.errors import DirectoryMissingError, PulseError
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryView
from shared.registry.lease import Lease
from shared.registry.sequences import Sequences
from shared.stream.entries import StaleEntry, UnknownEntryError, parse_change
from shared.stream.group import Entry, StreamGroup

logger = logging.getLogger(__name__)

LEASE_MS = 3_000
_RENEW_MS = 1_000
_READ = 1_000
_POLL_SECONDS = 0.025
"""How often the streams are read while a region rests, so that another region's first change goes out at once."""


class Broadcaster:
    """One per process."""

    def __init__(
        self,
        client: Redis,
        group: StreamGroup,
        directory: DirectoryCache,
        push: PushService,
        dead_letters: DeadLetters,
        now: Callable[[], int],
    ) -> None:
        self._sequences = Sequences(client, now)
        self._group = group
        self._directory = directory
        self._push = push
        self._dead_letters = dead_letters
        self._now = now
        self._lease = Lease(client, keys.BROADCAST_LEASE, LEASE_MS, wanted=keys.BROADCAST_WANTED)
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def wake(self) -> None:
        """Has changes delivered in the background; returns at once. What fails is left to the next call."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stops delivering; what is not acknowledged is sent by the next holder of the lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def deliver(self) -> None:
        """Sends everything in the streams, unless another process is at it: that one will look again.

        Raises DependencyUnavailableError; nothing is lost then, the entries stay pending.
        """
        await self._lease.want()
        if not await self._lease.acquire():
            return
        try:
            while True:
                wanted = await self._lease.wanted()
                await self._drain()
                if await self._lease.release(wanted):
                    return
        except BaseException:
            # Shielded: a cancelled broadcaster should not keep others waiting until the lease runs out.
            await asyncio.shield(self._lease.release())
            raise

    async def _run(self) -> None:
        while self._again:
            self._again = False
            try:
                await self.deliver()
            except PulseError as error:
                logger.warning("changes not delivered, the next sweep tries again: %s", error)

    async def _drain(self) -> None:
        outbox = Outbox()
        renewed_at = self._now()
        await self._take_in(outbox, await self._pending())
        while True:
            await self._take_in(outbox, await self._group.read_new(_READ))
            await self._send(outbox, outbox.take_due(self._now()))
            rest = outbox.next_due(self._now())
            if rest is None:
                return
            await asyncio.sleep(min(rest / 1000, _POLL_SECONDS))
            if self._now() - renewed_at >= _RENEW_MS:
                renewed_at = self._now()
                if not await self._lease.renew():
                    # Another process took over and sends what this one has not acknowledged.
                    return

    async def _pending(self) -> list[Entry]:
        # Everything a predecessor had read is needed before new entries are, or order within a facility would break.
        found: list[Entry] = []
        count = _READ
        while True:
            entries = await self._group.read_pending(count)
            if len(entries) == len(found):
                return entries
            found, count = entries, count * 2

    async def _take_in(self, outbox: Outbox, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        view = await self._view()
        finished: list[Entry] = []
        for entry in entries:
            try:
                parsed = parse_change(entry.fields)
            except UnknownEntryError as error:
                await self._dead_letters.add("broadcast", str(error), repr(entry.fields).encode(), entry=entry.entry_id)
                finished.append(entry)
                continue
            if isinstance(parsed, StaleEntry):
                if not outbox.add_announcement(view.regions if view else (), parsed, entry):
                    finished.append(entry)
                continue
            facility = view.facility(parsed.change.facility_id) if view else None
            region_id = parsed.region_id or (facility.region_id if facility else None)
            if region_id is None:
                # A facility that the directory has dropped: its region has been told so.
                finished.append(entry)
            else:
                outbox.add_change(region_id, parsed.change, entry)
        await self._group.acknowledge(finished)

    async def _view(self) -> DirectoryView | None:
        try:
            return await self._directory.view()
        except DirectoryMissingError:
            return None

    async def _send(self, outbox: Outbox, batches: Sequence[Batch]) -> None:
        results = await asyncio.gather(*(self._send_batch(batch) for batch in batches), return_exceptions=True)
        failures = []
        for batch, result in zip(batches, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                await self._group.acknowledge(outbox.done_with(batch))
        if failures:
            raise failures[0]

    async def _send_batch(self, batch: Batch) -> None:
        group = messages.region_group(batch.region_id)
        if batch.announcement is not None:
            sequence = await self._sequences.draw(batch.region_id)
            await self._push.send_to_group(
                group, messages.presence_stale(batch.region_id, sequence, batch.announcement)
            )
            return
        for items in messages.in_messages(batch.changes):
            sequence = await self._sequences.draw(batch.region_id)
            await self._push.send_to_group(group, messages.facility_status(batch.region_id, sequence, items))
        metrics.announced(batch.changes, self._now())
