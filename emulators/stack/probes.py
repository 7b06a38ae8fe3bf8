"""Questions to a part whose answer tells that it works."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.03


async def redis_answers(host: str, port: int) -> None:
    """Returns once the server answers PING with PONG, which it does not while it still loads its data."""
    while True:
        try:
            if (await _exchange(host, port, b"PING\r\n", lines=1)).startswith(b"+PONG"):
                return
        except OSError:
            pass  # it does not listen yet
        await asyncio.sleep(PAUSE_SECONDS)


async def http_get(url: str, timeout_seconds: float = 5.0) -> tuple[int, Any]:
    """Status and JSON body (None if it is no JSON) of a GET; raises OSError, or TimeoutError."""
    parts = urlsplit(url)
    request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n\r\n"
    async with asyncio.timeout(timeout_seconds):
        answer = await _exchange(parts.hostname or "", parts.port or 80, request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(maxsplit=2)
    if len(status) < 2 or not status[1].isdigit():
        raise ConnectionError(f"{url} did not answer with HTTP")
    try:
        return int(status[1]), json.loads(body)
    except ValueError:
        return int(status[1]), None


async def _exchange(host: str, port: int, request: bytes, lines: int | None = None) -> bytes:
    """Sends a request; returns that many lines of the answer, or all of it until the server closes."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        if lines is None:
            return await reader.read()
        return b"".join([await reader.readline() for _ in range(lines)])
    finally:
        writer.close()
