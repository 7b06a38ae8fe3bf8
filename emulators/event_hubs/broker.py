"""The server: listens, keeps time, and holds what all connections share."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress

from .connection import Connection
from .errors import FORCED
from .hubs import HubSettings, Namespace
from .performatives import Error
from .sas import SharedKey

_CHECK_SECONDS = 1.0
_GOODBYE_SECONDS = 1.0


class Broker:
    """An Event Hubs namespace that listens on a TCP port.

    `now` is the clock in seconds since 1970; `idle_seconds` is how long a client may be silent.
    """

    def __init__(
        self,
        hubs: Iterable[str],
        settings: HubSettings,
        key: SharedKey,
        *,
        now: Callable[[], float] = time.time,
        idle_seconds: float = 240,
    ) -> None:
        self.key = key
        self.now = now
        self.idle_seconds = idle_seconds
        self.container_id = uuid.uuid4().hex
        self.namespace = Namespace(hubs, settings, self.now_ms)
        self.connections: set[Connection] = set()
        self._expire_seconds = max(_CHECK_SECONDS, min(settings.retention_ms / 1000 / 20, 30))
        self._server: asyncio.Server | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    def now_ms(self) -> int:
        """The clock in milliseconds since 1970."""
        return int(self.now() * 1000)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises `OSError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port)
        self._housekeeping = loop.create_task(self._keep_house())
        return int(self._server.sockets[0].getsockname()[1])

    async def _keep_house(self) -> None:
        expire_at = 0.0
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            for connection in list(self.connections):
                connection.check()
            if asyncio.get_running_loop().time() >= expire_at:
                expire_at = asyncio.get_running_loop().time() + self._expire_seconds
                self.namespace.expire()

    async def stop(self) -> None:
        """Tells every client that the server goes away, and closes everything."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._housekeeping
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.close(Error(FORCED, "The server is shutting down."))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), _GOODBYE_SECONDS)
            self._server.abort_clients()
        self.namespace.close()
