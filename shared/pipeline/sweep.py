"""The guarantee that silence is noticed: once a second everything due at the watermark is ended."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import batched
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import metrics
from shared.alerts.alerts import Alerts
from shared.broadcast.broadcaster import Broadcaster
from shared.domain.pipeline import PipelineState, PipelineTiming, observe
from shared.errors import DependencyUnavailableError, PulseError
from shared.pipeline.agents import AgentFollower
from shared.pipeline.recovery import Recovery
from shared.pipeline.silence import SilenceWatch
from shared.registry import keys
from shared.registry.keys import Partition
from shared.registry.lease import Lease
from shared.registry.registry import Registry
from shared.registry.results import SweepResult
from shared.registry.watermarks import IN_FLIGHT, Watermarks

logger = logging.getLogger(__name__)

LATE_AFTER = 1_200
"""Milliseconds after which another function steps in for the timer."""
CANARY_WAIT = 300
"""Milliseconds that a sweep waits for its own canaries; slower ones count for the next."""
_CANARY_POLL_SECONDS = 0.02
_TELL_AFTER = 100
"""Milliseconds of one sweep after which its changes are told while it goes on."""
_SLICE = 1_000
"""Milliseconds of sweeping, at most, after which the stream is looked at again: a sweep that takes long must not be
what stops the watermark. Its canaries come back a slice later, so a slice is a small part of what makes a stall."""
_AT_ONCE = 4
"""Partitions swept at the same time: few, because a heartbeat in Redis may have to wait for all of them."""
_UNLISTED_AT_ONCE = 500
"""Facilities of a partition that lose their session-list keys at once, for the same reason."""
_LEASE_MS = 5_000


class Canaries(Protocol):
    """Marks in the stream of events, one per partition."""

    async def partition_ids(self) -> Collection[str]:
        """Returns the partitions of the event hub."""

    async def send_canaries(self, now: int, mark: tuple[int, int]) -> Mapping[str, int]:
        """Sends a canary with `mark` to every partition; returns their send times (ms).

        Raises DependencyUnavailableError.
        """


class SessionSweep:
    """One per process; one at a time over all processes, by lease."""

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        watermarks: Watermarks,
        canaries: Canaries,
        recovery: Recovery,
        broadcaster: Broadcaster,
        follower: AgentFollower,
        alerts: Alerts,
        timing: PipelineTiming,
        silence: SilenceWatch,
        now: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._watermarks = watermarks
        self._canaries = canaries
        self._recovery = recovery
        self._broadcaster = broadcaster
        self._follower = follower
        self._alerts = alerts
        self._timing = timing
        self._slice = min(_SLICE, timing.stale_after // 6)
        self._silence = silence
        self._now = now
        self._waiting: frozenset[Partition] = frozenset()
        self._lease = Lease(client, keys.SWEEP_LEASE, _LEASE_MS)
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> SweepResult:
        """Moves the watermark, ends what is due at it, and has it announced; returns what ended.

        1. Canaries go out; those back within 300 ms, and earlier ones, tell the watermark.
        2. While the watermark is too far behind the clock nobody ends (contract, rule 6).
        3. When so few are heard that they cannot all have gone, only those who left end (rule 7).
        4. Otherwise every partition is swept up to it; where that takes long, with new looks at 1 to 3 in between.
        5. Unless the pipeline is stale, alerts are raised for whoever has been offline for too long.
        Does nothing while another process sweeps. Raises DependencyUnavailableError; where only some partitions fail,
        after the others have had their turn.
        """
        if not await self._lease.acquire():
            return SweepResult()
        total = SweepResult()
        failures: list[PulseError | RedisError] = []
        is_sound = False
        try:
            await self._recovery.ensure()
            await self._recovery.vouch()
            is_sound = True
            left = deque(keys.ALL_PARTITIONS)
            # Stops when the lease is lost: another process sweeps.
            while left and await self._lease.renew():
                # Canaries of the slice before have had time enough.
                state = await self._observe(patience=0 if self._waiting else CANARY_WAIT)
                if state is None or state.watermark is None or not state.may_end_sessions(self._now(), self._timing):
                    break
                swept = await self._sweep_slice(left, failures, state.watermark, state.nobody_expires_until)
                total = _sum(total, swept)
                if not state.stale:
                    await self._alerts.announce(state.watermark)
                if left and not self._waiting:
                    await self._unlist(left, state.watermark)
                self._waiting = frozenset(left)
        finally:
            self._waiting = frozenset()
            self._broadcaster.wake()
            self._follower.wake()
            # An older copy of the data may hold calls that were made long ago.
            if is_sound:
                self._alerts.call_webhook()
            await self._lease.release()
        if failures:
            raise failures[0]
        return total

    async def run_for_key(self, key: str) -> SweepResult:
        """Ends what is due at the facility of an expired session-list key; any other key is ignored.

        The missing key proves nothing by itself: the watermark still decides. Nor does it help where this process's
        sweep is behind: thousands of keys expire then, and each of these facilities has its turn.
        """
        place = keys.facility_of_session_key(key)
        if place is None or place[0] in self._waiting:
            return SweepResult()
        partition, facility_id = place
        # The sweep has mostly been there already; that must cost one question, not five.
        due = await self._registry.next_due(facility_id, partition)
        if due is None or due > self._now():
            return SweepResult()
        state = await self._watermarks.load()
        ingested = await self._watermarks.ingested(await self._canaries.partition_ids())
        watermark = max((mark for mark in (state.watermark, ingested) if mark is not None), default=None)
        # A stall that another instance has announced is over only when the sweep says so, however young the watermark.
        if state.stale_since is not None and state.hold_until is None:
            return SweepResult()
        if watermark is None or not state.may_end_sessions(self._now(), self._timing):
            return SweepResult()
        if await self._silence.forbids(state, watermark, self._now()):
            return SweepResult()
        result = await self._registry.sweep_facility(
            facility_id, partition, watermark, hold_until=state.nobody_expires_until
        )
        self._wake(result.ended, result.changes)
        return result

    async def tell_stall(self) -> None:
        """Returns when a stall up to now is announced, so that clients hear of it before anything ingested after it."""
        while await self._told(await self._watermarks.load()) is None:
            pass

    async def wake_if_late(self) -> None:
        """Sweeps in the background when the last sweep is over 1.2 s old: a timer's holder may have died."""
        swept_at = await self._watermarks.swept_at()
        # One from the future is of a clock that has been set back since.
        if swept_at is not None and abs(self._now() - swept_at) <= LATE_AFTER:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_logged())

    async def close(self) -> None:
        """Stops a sweep of its own that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_logged(self) -> None:
        try:
            await self.run()
        except PulseError as error:
            logger.warning("sweep not finished, the next one goes on: %s", error)

    async def _observe(self, patience: int) -> PipelineState | None:
        """Returns the state at the new watermark; None when another process has looked meanwhile.

        `patience`: how long (ms) canaries are waited for.
        """
        before = await self._told(await self._watermarks.load())
        if before is None:
            return None
        try:
            sent = await self._canaries.send_canaries(self._now(), self._recovery.mark)
            ingested = await self._await_canaries(sent, patience)
        except DependencyUnavailableError as error:
            # Without canaries the watermark stands still, and after a while that is a stall.
            logger.warning("no canaries: %s", error)
            ingested = None
        now = self._now()
        heard = await self._registry.heard_since(self._recovery.mark[0]) if before.watermark is None else None
        after = observe(before, ingested, now, self._timing, heard_since=heard)
        backlog = 0 if after.watermark is None else await self._registry.count_due(after.watermark)
        # A rest (rule 7) lasts until those known to be gone have ended: the more of them do, the greater the share of
        # those who are heard.
        if after.may_end_sessions(now, self._timing) and not (self._waiting and after.silence.resting):
            after = await self._silence.look(after, now, backlog)
        metrics.swept(after, now, backlog)
        return await self._saved(before, after, now)

    async def _told(self, state: PipelineState) -> PipelineState | None:
        """Returns the state with a stall that is not known yet announced; None when another process was first."""
        self._recovery.note(state.watermark)
        now = self._now()
        if state.stale_since is not None or not state.is_stalled(now, self._timing):
            return state
        told = await self._saved(state, observe(state, None, now, self._timing), now)
        self._broadcaster.wake()
        return told

    async def _saved(self, before: PipelineState, after: PipelineState, now: int) -> PipelineState | None:
        cause = None
        if after.stale != before.stale:
            cause = "silence" if after.stale_since is None and before.stale_since is None else "stalled"
        saved = await self._watermarks.save(after, now, before=before, announce=cause)
        self._recovery.note(after.watermark)
        return replace(after, swept_at=now) if saved else None

    async def _await_canaries(self, sent: Mapping[str, int], patience: int) -> int | None:
        partitions = await self._canaries.partition_ids()
        goal = min(sent.values()) - IN_FLIGHT
        give_up_at = self._now() + patience
        while True:
            ingested = await self._watermarks.ingested(partitions)
            if (ingested is not None and ingested >= goal) or self._now() >= give_up_at:
                return ingested
            await asyncio.sleep(_CANARY_POLL_SECONDS)

    async def _sweep_slice(
        self, left: deque[Partition], failures: list[PulseError | RedisError], watermark: int, hold_until: int
    ) -> SweepResult:
        """Sweeps the partitions in turns until the slice is over, and takes those that are done from `left`.

        One that fails is left to the next run, and why is added to `failures`.
        """
        total, untold = SweepResult(), SweepResult()
        started = self._now()
        try:
            while left and self._now() - started < self._slice:
                partitions = [left.popleft() for _ in range(min(_AT_ONCE, len(left)))]
                results = await asyncio.gather(
                    *(self._registry.sweep(partition, watermark, hold_until=hold_until) for partition in partitions),
                    return_exceptions=True,
                )
                for partition, result in zip(partitions, results, strict=True):
                    if isinstance(result, (PulseError, RedisError)):
                        failures.append(result)
                    elif isinstance(result, BaseException):
                        raise result
                    else:
                        total, untold = _sum(total, result), _sum(untold, result)
                        if result.more:
                            left.append(partition)
                # When not only those partitions are away that failed, this fails too, and ends the sweep.
                if not await self._lease.renew():
                    break
                # Told at once, the changes of the first partition would make those of the others wait for the
                # region's next message; only a sweep that takes long has its changes told meanwhile.
                if self._now() - started >= _TELL_AFTER:
                    self._wake(untold.ended, untold.changes)
                    untold = SweepResult()
        finally:
            self._wake(untold.ended, untold.changes)
        return total

    async def _unlist(self, left: Iterable[Partition], watermark: int) -> None:
        """Takes session-list keys out of the way of a sweep that is behind, for no longer than a slice."""
        until = self._now() + self._slice

        async def unlist(partition: Partition) -> None:
            passed = 0
            while self._now() < until and (
                visited := await self._registry.unlist(partition, watermark, passed, _UNLISTED_AT_ONCE)
            ):
                passed += visited

        for partitions in batched(left, _AT_ONCE, strict=False):
            await asyncio.gather(*map(unlist, partitions))

    def _wake(self, ended: int, changes: int) -> None:
        """Has delivered what there is."""
        if changes:
            self._broadcaster.wake()
        if ended:
            self._follower.wake()


def _sum(one: SweepResult, other: SweepResult) -> SweepResult:
    return SweepResult(one.ended + other.ended, one.changes + other.changes)
