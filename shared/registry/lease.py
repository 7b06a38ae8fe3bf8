"""Leases: one holder at a time, given up by time when the holder dies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from shared.errors import DependencyUnavailableError
from shared.registry.client import redis_errors, text
from shared.registry.scripts import load

logger = logging.getLogger(__name__)


class Lease:
    """A named lease of one process. Holding it prevents double work; it is never what correctness rests on."""

    def __init__(self, client: Redis, key: str, duration: int, *, wanted: str | None = None) -> None:
        """`duration` in ms. `wanted`: a counter raised by others who need the holder to look (again)."""
        self._client = client
        self._key = key
        self._wanted = wanted
        self._duration = duration
        self._token = token_hex(8)
        self._is_held = False
        self.lost = False
        """Whether `kept` found the lease in other hands."""
        self._take = load(client, "take_lease", prelude=False)
        self._release = load(client, "release_lease", prelude=False)
        self._renew = load(client, "renew_lease", prelude=False)

    async def acquire(self) -> bool:
        """Returns whether the caller holds the lease now, having taken it.

        Not while another caller of this process holds it, even if it has run out: the two would share a token.
        """
        if self._is_held:
            return False
        self._is_held = True
        try:
            with redis_errors():
                try:
                    taken = await self._client.set(self._key, self._token, nx=True, px=self._duration)
                except OutOfMemoryError:
                    taken = await self._take(keys=[self._key], args=[self._token, self._duration])
                self._is_held = bool(taken)
        except BaseException:
            self._is_held = False
            raise
        return self._is_held

    async def renew(self) -> bool:
        """Returns False when the lease has been lost."""
        with redis_errors():
            return bool(await self._renew(keys=[self._key], args=[self._token, self._duration]))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renews the lease in the background during the block, however long a step of it takes; see `lost`."""
        self.lost = False
        task = asyncio.get_running_loop().create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._duration / 3000)
            try:
                self.lost = not await self.renew()
            except DependencyUnavailableError as error:
                # The holder's own next call will fail too, or find the lease still there.
                logger.warning("lease %s not renewed: %s", self._key, error)

    async def want(self) -> None:
        """Makes the holder, whoever it is, look once more before it gives the lease back."""
        with redis_errors():
            await self._client.incr(self._counter())

    async def wanted(self) -> str:
        """Returns the counter, to be read before looking and handed to `release` after."""
        with redis_errors():
            return text(await self._client.get(self._counter()) or "0")

    async def release(self, seen: str | None = None) -> bool:
        """Returns True when given back; False when somebody wanted something since `seen`: look again."""
        keys = [self._key] if seen is None else [self._key, self._counter()]
        is_released = True
        try:
            with redis_errors():
                is_released = bool(await self._release(keys=keys, args=[self._token, seen or ""]))
        finally:
            self._is_held = not is_released
        return is_released

    def _counter(self) -> str:
        if self._wanted is None:
            raise ValueError(f"lease {self._key} has no counter of wants")
        return self._wanted
