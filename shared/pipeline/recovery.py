"""After a loss of Redis data: facilities, and sessions ended by command, come back from SQL.

How a loss is noticed:

1. `epoch` is missing: the data is gone.
2. `progress`, which every process raises before it touches the data, is not above what this process saw last: the
   server has gone back to an older copy.
3. A partition of facilities is not of the epoch, or its own progress, raised soon after something was written, is below
   what this process saw: of a cluster one node has lost its data, or has gone back to an older copy.
4. A canary was sent when the data was newer than now: as 2, though no process remembers anything.
5. The next event of an Event Hubs partition does not follow the newest one applied: it was applied to data that is
   gone. This finds what 4 cannot, as the canaries have been applied, too.

Signs may pass before anybody can restore, as SQL may be away: whoever sees one writes down that this epoch is broken.

Between a restart of the server that nobody remembers anything from before, and that event, messages already go out: so
their numbers jump ahead by then, loss or not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from shared.alerts.alerts import Alerts
from shared.domain.pipeline import PipelineState
from shared.errors import DependencyUnavailableError, PulseError
from shared.registry import keys
from shared.registry.client import redis_errors, run_ids, text
from shared.registry.lease import Lease
from shared.registry.progress import Mark, Progress, Standing
from shared.registry.registry import Registry
from shared.registry.sequences import Sequences
from shared.registry.watermarks import Watermarks
from shared.store.ports import MonitorStore

logger = logging.getLogger(__name__)

VERSION_JUMP = 1_000
"""More changes of one facility than a monitor period can hold back from SQL."""
ADVANCE_EVERY = 250
"""Milliseconds between raisings of the partitions' progress: a younger copy of one node is not noticed."""
_LEASE_MS = 30_000
_LOOKS = 20
"""How often a call looks whether another process has restored the data; then it fails, to be repeated."""
_LOOK_SECONDS = 0.1


class Recovery:
    """Keeps the epoch: the moment (ms) at which the present Redis data began. It only rises.

    `publish_directory` puts the core database's directory in force where Redis has none.
    """

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        watermarks: Watermarks,
        sequences: Sequences,
        alerts: Alerts,
        store: MonitorStore,
        publish_directory: Callable[[], Awaitable[object]],
        now: Callable[[], int],
    ) -> None:
        self._client = client
        self._registry = registry
        self._watermarks = watermarks
        self._sequences = sequences
        self._alerts = alerts
        self._store = store
        self._publish_directory = publish_directory
        self._now = now
        self._progress = Progress(client)
        self._lease = Lease(client, keys.RECOVERY_LEASE, _LEASE_MS)
        self._seen: Mark = (0, 0)
        self._partitions: tuple[Mark, ...] = ((0, 0),) * keys.PARTITIONS
        self._watermark: int | None = None
        self._advanced_at = 0

    @property
    def mark(self) -> Mark:
        """Where the data stood when this process saw it last: epoch and progress."""
        return self._seen

    async def ensure(self, partition_id: str | None = None, first: int = 0, *, mark: Mark = (0, 0)) -> None:
        """Returns when Redis holds what SQL knows; does work only at a first start and after a loss.

        With `partition_id` also when the event with the sequence number `first` of that Event Hubs partition may be
        applied: nothing is missing between it and those applied before. `mark`: where the data stood when a canary
        among the events was sent.
        Raises DependencyUnavailableError if another process is at it, or Redis or SQL is away.
        """
        # What was seen before this question is asked: answers to concurrent questions may overtake one another.
        seen, partitions = self._seen, self._partitions
        found = await self._progress.look(partition_id)
        if found.epoch is None:
            await self._begin_epoch(None, "the data is gone")
            return
        if seen == (0, 0):
            await self._meet_server()
        self._seen = max(self._seen, (found.epoch, found.progress))
        evidence = await self._evidence(found.epoch, found, max(seen, mark), partitions)
        if evidence is None and found.applied is not None and first > found.applied + 1:
            evidence = f"partition {partition_id} goes on with event {first} after {found.applied}"
        if evidence is not None:
            await self._progress.give_up(found.epoch)
            await self._begin_epoch(found.epoch, evidence)

    async def applied(self, partition_id: str, last: int) -> None:
        """Notes the newest event applied of an Event Hubs partition. Raises DependencyUnavailableError("redis")."""
        await self._progress.applied(partition_id, last)
        # Not after every batch: sixteen commands may cost as much as the batch.
        if not 0 <= self._now() - self._advanced_at < ADVANCE_EVERY:
            await self._advance()

    async def vouch(self) -> None:
        """Notes that the data of the server as it runs now is what this process knew; call it after `ensure`."""
        await self._meet_server(is_known=True)
        await self._advance()

    def note(self, watermark: int | None) -> None:
        """Remembers how far the pipeline was, in case that Redis forgets it."""
        self._watermark = watermark if watermark is not None else self._watermark

    async def _evidence(
        self, epoch: int, found: Standing, known: Mark, known_partitions: tuple[Mark, ...]
    ) -> str | None:
        """Returns why the data is not all that was known, None if it is."""
        if found.broken == epoch:
            return f"epoch {epoch} is known to have lost data"
        if (epoch, found.progress) <= known:
            return f"epoch and progress {(epoch, found.progress)} are not after {known}"
        marks = found.partitions
        if any(mark[0] != epoch for mark in marks):
            # Nodes answer at different times, and an epoch may have begun meanwhile: now its partitions are of it.
            marks = await self._progress.partitions()
        for partition, mark, before in zip(keys.ALL_PARTITIONS, marks, known_partitions, strict=True):
            if mark[0] != epoch:
                return f"partition {partition.tag} is of epoch {mark[0]}, not {epoch}"
            if mark < before:
                return f"epoch and progress {mark} of partition {partition.tag} are before {before}"
        self._partitions = tuple(map(max, self._partitions, marks))
        return None

    async def _advance(self) -> None:
        """Raises the partitions' progress: a copy of a node that lacks what was written before lacks this, too."""
        self._advanced_at = self._now()
        epoch, before = self._seen[0], self._partitions
        after = tuple((epoch, progress) for progress in await self._progress.advance())
        if any(mark <= known for mark, known in zip(after, before, strict=True)):
            # The next look must find it, though others may have raised the number by then.
            await self._progress.give_up(epoch)
        self._partitions = tuple(map(max, self._partitions, after))

    async def _begin_epoch(self, broken: int | None, evidence: str) -> None:
        if not await self._lease.acquire():
            await self._wait_for_another(broken)
            return
        try:
            # Many facilities take a while, and so does a database that has paused.
            async with self._lease.kept():
                # Otherwise another process has done it meanwhile.
                if await self._progress.epoch() == broken:
                    await self._restore(broken, evidence)
        finally:
            await self._lease.release()

    async def _wait_for_another(self, broken: int | None) -> None:
        for _ in range(_LOOKS):
            if await self._progress.epoch() != broken:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        raise DependencyUnavailableError("redis", "its data is being restored from SQL")

    async def _meet_server(self, *, is_known: bool = False) -> None:
        with redis_errors():
            run_id = await run_ids(self._client)
            vouched = await self._client.get(keys.SERVER)
            if vouched is not None and text(vouched) == run_id:
                return
            if not is_known:
                await self._sequences.renew(self._now())
            await self._client.set(keys.SERVER, run_id)

    async def _restore(self, broken: int | None, evidence: str) -> None:
        now = self._now()
        epoch = max(now, self._seen[0] + 1, (broken or 0) + 1)
        await self._store.thread.run(self._store.migrate)
        states = await self._store.thread.run(self._store.facility_states)
        announced = await self._store.thread.run(self._store.announced_alerts)
        ended = await self._store.thread.run(self._store.ended_ids, now)
        is_loss = bool(states) or broken is not None or self._seen != (0, 0)
        if is_loss:
            # Before anything else can be announced, and under a number above all before.
            await self._sequences.renew(epoch)
            stopped_at = now if self._watermark is None else min(now, self._watermark)
            await self._watermarks.save(PipelineState(stale_since=stopped_at), now, before=None, announce="lost")
        await self._progress.forget_applied()
        # First of all: heartbeats of a process that knows the new data already may come in between.
        await self._registry.block((item.user_id, item.session_id, item.until) for item in ended)
        restored = await self._registry.restore(states, now, version_jump=VERSION_JUMP, first_start=not is_loss)
        if is_loss:
            await self._store.thread.run(self._store.raise_states, await self._registry.known_states())
        await self._alerts.restore(states, announced, now)
        if is_loss:
            try:
                await self._publish_directory()
            except PulseError as error:
                # Not tried again here, or versions would jump with every attempt: the monitor does it in a minute.
                logger.warning("the directory is not published yet: %s", error)
        await self._progress.begin(epoch)
        self._seen = max(self._seen, (epoch, 0))
        logger.warning(
            "epoch %d begins (%s): %d facilities, %d ended sessions from SQL",
            epoch,
            evidence if is_loss else "first start",
            restored,
            len(ended),
        )
