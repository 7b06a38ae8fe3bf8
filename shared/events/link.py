"""A connection to the event hub that opens when first needed, and opens anew after every failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from azure.core.exceptions import AzureError
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

FAILURES = (EventHubError, AzureError, OSError, TimeoutError)
"""What a later attempt may cure."""

OPEN_SECONDS = 6.0
_CLOSE_SECONDS = 5.0
# The service drops connections after 240 s of silence; one that may be dropped soon is replaced before it is used.
_IDLE_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Link:
    """Holds at most one open client. Not bound to an event loop before its first use."""

    def __init__(
        self,
        make_client: Callable[[], EventHubProducerClient],
        open_client: Callable[[EventHubProducerClient], Awaitable[object]],
    ) -> None:
        self._make_client = make_client
        self._open_client = open_client
        self._client: EventHubProducerClient | None = None
        self._opening: asyncio.Task[EventHubProducerClient] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._last_used = 0.0

    async def client(self) -> EventHubProducerClient:
        """Returns the open client. Raises one of FAILURES.

        Opening goes on when the caller gives up waiting, so that a slow connection is there for the next one.
        """
        now = asyncio.get_running_loop().time()
        if self._client is not None and now - self._last_used > _IDLE_SECONDS:
            self.discard()
        self._last_used = now
        if self._client is not None:
            return self._client
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def discard(self) -> None:
        """Gives up the client, if any: after a failure, or after a call that was cut short, its state is unknown."""
        if self._client is not None:
            self._close_later(self._client)
            self._client = None

    async def close(self) -> None:
        """Closes the client and waits until that is done."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self.discard()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _open(self) -> EventHubProducerClient:
        client = self._make_client()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._open_client(client)
        except BaseException:
            self._close_later(client)
            raise
        return client

    def _opened(self, opening: "asyncio.Task[EventHubProducerClient]") -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._client = opening.result()
            self._last_used = asyncio.get_running_loop().time()

    def _close_later(self, client: EventHubProducerClient) -> None:
        task = asyncio.create_task(self._close_client(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_client(self, client: EventHubProducerClient) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()
        except FAILURES as error:
            _log.debug("closing a connection to the event hub: %s", error)
