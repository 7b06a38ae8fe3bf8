"""Work that one process at a time does, by lease, whenever somebody has made some."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from shared.errors import PulseError
from shared.registry.lease import Lease

logger = logging.getLogger(__name__)

LEASE_MS = 3_000
_RENEW_SECONDS = 1.0


class Errand:
    """Runs `work` until nothing is left; whoever wakes it elsewhere meanwhile makes the holder look once more.

    `work` is given `keep`, to be awaited between steps: it renews the lease, and returns False when that is lost.
    """

    def __init__(
        self,
        client: Redis,
        lease: str,
        wanted: str,
        work: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]],
    ) -> None:
        self._name = lease
        self._lease = Lease(client, lease, LEASE_MS, wanted=wanted)
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._renewed_at = 0.0

    def wake(self) -> None:
        """Has the work done in the background; returns at once. What fails is left to the next call."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run_logged())

    async def run(self) -> None:
        """Does the work now, unless another process is at it: that one will look again.

        Raises what `work` raises, and DependencyUnavailableError("redis").
        """
        await self._lease.want()
        if not await self._lease.acquire():
            return
        try:
            while True:
                wanted = await self._lease.wanted()
                self._renewed_at = asyncio.get_running_loop().time()
                await self._work(self._keep)
                if await self._lease.release(wanted):
                    return
        except BaseException:
            # Shielded: who is cancelled should not keep others waiting until the lease runs out.
            await asyncio.shield(self._lease.release())
            raise

    async def idle(self) -> None:
        """Returns when this process is not at it any more."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stops; the next holder of the lease goes on where this one was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_logged(self) -> None:
        while self._again:
            self._again = False
            try:
                await self.run()
            except PulseError as error:
                logger.warning("%s: not finished, the next call goes on: %s", self._name, error)

    async def _keep(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at < _RENEW_SECONDS:
            return True
        self._renewed_at = now
        return await self._lease.renew()
