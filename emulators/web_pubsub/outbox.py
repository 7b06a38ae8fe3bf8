"""The sending side of one socket: frames leave in order, and a client that does not read cannot hold much."""

import asyncio
from collections import deque
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

# asyncio's own default high-water mark: above it the transport tells aiohttp to pause, and `drain` waits.
_TRANSPORT_BYTES: Final = 64 * 1024
_CLOSE_SECONDS: Final = 2.0
_MAX_REASON_BYTES: Final = 123  # RFC 6455 section 5.5: a control frame holds 125 bytes, the code takes two


class Outbox:
    """A bounded queue in front of one WebSocket.

    Frames that are already encoded go straight to the transport, so that a message to thousands of connections costs
    one system call for each and no task switch; only what a slow client leaves unread waits here.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        writer: AbstractStreamWriter,
        transport: asyncio.Transport,
        limit: int,
    ) -> None:
        self._socket = socket
        self._writer = writer
        self._transport = transport
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._drainer: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, frame: bytes) -> bool:
        """Sends a frame, or queues it behind those that wait.

        False when the socket is closed, or has just been cut because more than the limit waits.
        """
        transport = self._transport
        if self._closed or transport.is_closing():
            return False
        if self._drainer is None and transport.get_write_buffer_size() <= _TRANSPORT_BYTES:
            transport.write(frame)
            return True
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._limit:
            self.abort()
            return False
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())
        return True

    def abort(self) -> None:
        """Cuts the connection at once, whatever waits."""
        self._closed = True
        self._waiting.clear()
        self._transport.abort()

    async def close(self, code: int, reason: str) -> None:
        """Sends what waits and then the close frame; cuts the connection when the client does not take them."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if self._drainer is not None:
                    await self._drainer
                await self._socket.close(code=code, message=_shortened(reason))
        except TimeoutError:
            self.abort()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._writer.drain()
                while self._waiting and self._transport.get_write_buffer_size() <= _TRANSPORT_BYTES:
                    frame = self._waiting.popleft()
                    self._waiting_bytes -= len(frame)
                    self._transport.write(frame)
        except ConnectionError:
            self._waiting.clear()
        finally:
            self._drainer = None


def _shortened(reason: str) -> bytes:
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
