"""A singleton listener: runs on one host only, by a lease in the shared storage.

Source: the WebJobs SDK's SingletonListener. The lease is renewed at half its period; a host that did not get it
tries again every recovery interval. So after a crash another host takes over within lease + recovery interval
(60 s + 60 s by default), after a graceful stop within one recovery interval.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from emulators.host.host_config import SingletonOptions
from emulators.host.storage import SharedStorage

_LOG = logging.getLogger(__name__)


class Singleton:
    """Keeps `start`ed what this object owns while this host holds the lease `name`."""

    def __init__(
        self,
        storage: SharedStorage,
        name: str,
        owner: str,
        options: SingletonOptions,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._name = name
        self._owner = owner
        self._options = options
        self._start = start
        self._stop = stop
        self._held = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Tries to take the lease once, then goes on in the background."""
        await self._step()
        self._task = asyncio.create_task(self._run(), name=f"lease {self._name}")

    async def stop(self) -> None:
        """Stops what runs under the lease, then gives the lease up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._held:
            self._held = False
            await self._stop()
        # Also when it is not held: the cancelled step may just have taken it.
        await self._storage.release_lease(self._name, self._owner)

    async def _run(self) -> None:
        while True:
            held_pause = self._options.listener_lock_seconds / 2
            await asyncio.sleep(held_pause if self._held else self._options.recovery_polling_seconds)
            try:
                await self._step()
            except sqlite3.Error:
                _LOG.exception("the lease %s could not be read or renewed", self._name)

    async def _step(self) -> None:
        taken = await self._storage.take_lease(self._name, self._owner, self._options.listener_lock_seconds)
        if taken and not self._held:
            self._held = True
            await self._start()
        elif not taken and self._held:
            _LOG.warning("the lease %s was lost to another host", self._name)
            self._held = False
            await self._stop()
