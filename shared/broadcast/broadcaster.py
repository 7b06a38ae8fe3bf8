"""Changes to browsers: whoever made a change wakes a broadcaster, and one of them, by lease, sends for all.

    acquire the lease ─▶ pending entries, then new ones ─▶ coalesce per region ─▶ number ─▶ send ─▶ acknowledge
           ▲                                                                                      │
           └──── give the lease back, unless somebody appended meanwhile ◀── nothing left ◀────────┘

A holder that dies leaves its entries pending; its successor sends them again under new numbers, which clients see as
newer messages with versions they know. A number drawn but never sent is a gap, which makes clients read the snapshot.
A change that a newer one of its facility overtakes is acknowledged at once, so that what waits while Web PubSub is away
follows the number of facilities, not the length of the outage.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from redis.asyncio import Redis

from shared.background import BackgroundTask
from shared.broadcast.outbox import Batch, Outbox, WaitingAnnouncement
from shared.broadcast.push import PushService
from shared.broadcast.sending import RegionSender, Sent
from shared.errors import DirectoryMissingError, PulseError
from shared.registry import keys
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryView
from shared.registry.lease import Lease
from shared.registry.sequences import Sequences
from shared.stream.deaths import DeathWatch
from shared.stream.entries import AlertEntry, StaleEntry, StatusEntry, UnknownEntryError, parse_change
from shared.stream.group import Entry, StreamGroup
from shared.stream.setting_aside import SettingAside

logger = logging.getLogger(__name__)

LEASE_MS = 3_000
_READ = 1_000
_POLL_SECONDS = 0.025
"""How often the streams are read while a region rests, so that another region's first change goes out at once."""
_FIRST_PAUSE_MS = 500
_LONGEST_PAUSE_MS = 5_000
"""The pause after a failure doubles from the first to the longest; each process takes a random part of it."""


class Broadcaster:
    """One per process."""

    def __init__(
        self,
        client: Redis,
        group: StreamGroup,
        sequences: Sequences,
        directory: DirectoryCache,
        push: PushService,
        dead_letters: DeadLetters,
        now: Callable[[], int],
    ) -> None:
        self._group = group
        self._directory = directory
        self._sender = RegionSender(client, sequences, push, now)
        self._setting_aside = SettingAside(client, group, dead_letters)
        self._deaths = DeathWatch(client, group.name, self._setting_aside)
        self._now = now
        self._lease = Lease(client, keys.BROADCAST_LEASE, LEASE_MS, wanted=keys.BROADCAST_WANTED)
        self._background = BackgroundTask(self._run)
        self._again = False
        self._failures = 0
        self._paused_until = 0

    def wake(self) -> None:
        """Has changes delivered in the background; returns at once. What fails is left to a later call."""
        # A pause beyond the longest was begun before the clock was set back.
        if 0 < self._paused_until - self._now() <= _LONGEST_PAUSE_MS:
            return
        self._again = True
        self._background.start()

    async def close(self) -> None:
        """Stops delivering; what is not acknowledged is sent by the next holder of the lease."""
        await self._background.stop()

    async def deliver(self) -> None:
        """Sends everything in the streams, unless another process is at it: that one will look again.

        Raises DependencyUnavailableError; nothing is lost then, the entries stay pending.
        """
        await self._lease.want()
        if not await self._lease.acquire():
            return
        try:
            async with self._lease.kept():
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
                pause = min(_FIRST_PAUSE_MS * 2**self._failures, _LONGEST_PAUSE_MS)
                self._failures = min(self._failures + 1, 10)
                self._paused_until = self._now() + round(pause * random.uniform(0.5, 1))  # noqa: S311 -- no secret
                logger.warning("changes not delivered, tried again by the next sweep after %d ms: %s", pause, error)
                return
            self._failures = 0

    async def _drain(self) -> None:
        outbox = Outbox()
        async with AsyncExitStack() as under_way:
            # Everything a predecessor had read is needed before new entries are, or order within a facility would
            # break.
            async for page in self._group.pending(_READ):
                for part in await self._deaths.parts(page):
                    if part.suspect:
                        async with self._deaths.over(part):
                            await self._take_in(outbox, part.entries)
                            await self._send_out(outbox, self._nothing)
                    else:
                        await under_way.enter_async_context(self._deaths.over(part))
                        await self._take_in(outbox, part.entries)
            await self._send_out(outbox, self._group.read_new)

    async def _send_out(self, outbox: Outbox, read: Callable[[int], Awaitable[Sequence[Entry]]]) -> None:
        """Sends what waits and what `read` gives meanwhile, until nothing is open."""
        while not self._lease.lost:
            await self._take_in(outbox, await read(_READ))
            await self._send(outbox, outbox.take_due(self._now()))
            rest = outbox.next_due(self._now())
            if rest is None:
                return
            await asyncio.sleep(min(rest / 1000, _POLL_SECONDS))
        # Another process took over and sends what this one has not acknowledged.

    @staticmethod
    async def _nothing(_: int) -> Sequence[Entry]:
        return ()

    async def _take_in(self, outbox: Outbox, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        view = await self._view()
        if view is None:
            # Whom to tell is not known yet; the entries stay pending until it is.
            return
        finished: list[Entry] = []
        for entry in entries:
            try:
                parsed = parse_change(entry.fields)
            except UnknownEntryError as error:
                await self._setting_aside.unreadable(entry, error)
                continue
            if not isinstance(parsed, StatusEntry) and parsed.told:
                finished.append(entry)
            elif isinstance(parsed, StaleEntry):
                if not outbox.add_announcement(view.regions, parsed, entry):
                    finished.append(entry)
            elif (region_id := _region_of(parsed, view)) is None:
                # A facility that the directory has dropped: its region has been told so.
                finished.append(entry)
            elif isinstance(parsed, AlertEntry):
                outbox.add_announcement([region_id], parsed, entry)
            elif superseded := outbox.add_change(region_id, parsed.change, entry):
                finished.append(superseded)
        await self._group.acknowledge(finished)

    async def _view(self) -> DirectoryView | None:
        try:
            return await self._directory.view()
        except DirectoryMissingError:
            return None

    async def _send(self, outbox: Outbox, batches: Sequence[Batch]) -> None:
        results = await asyncio.gather(*(self._sender.send(batch) for batch in batches), return_exceptions=True)
        failures = []
        for result in results:
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                await self._finish(outbox, result)
        if failures:
            raise failures[0]

    async def _finish(self, outbox: Outbox, sent: Sent) -> None:
        await self._group.acknowledge(
            waiting.entry
            for waiting in sent.done
            if not isinstance(waiting, WaitingAnnouncement) or outbox.sent(waiting)
        )
        await self._setting_aside.refused((waiting.entry, error) for waiting, error in sent.refused)


def _region_of(parsed: StatusEntry | AlertEntry, view: DirectoryView) -> str | None:
    """Returns the region to tell; None when the directory does not know the facility."""
    if isinstance(parsed, StatusEntry):
        if parsed.region_id is not None:
            return parsed.region_id
        facility_id = parsed.change.facility_id
    else:
        facility_id = parsed.facility_id
    facility = view.facility(facility_id)
    return None if facility is None else facility.region_id
