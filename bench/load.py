"""Requests as fast as they are answered, over connections that stay open; little work per request."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """What was answered: how often with which status, and after how many milliseconds."""

    seconds: float = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests accepted (202) per second."""
        return self.statuses[202] / self.seconds

    @property
    def refused(self) -> int:
        """How many were answered with anything else."""
        return sum(self.statuses.values()) - self.statuses[202]


def post(api: str, path: str, token: str, body: bytes) -> bytes:
    """Returns a whole HTTP/1.1 request."""
    address = urlsplit(api)
    head = (
        f"POST {address.path}{path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def hammer(
    api: str, request: Callable[[int], bytes], connections: int, seconds: float, pause: float = 0.0
) -> Load:
    """Has each connection send `request(n)`, n rising over all, wait for the answer, pause, and so on."""
    load, numbers, started = Load(), iter(range(1_000_000_000)), time.perf_counter()
    until = started + seconds

    async def client() -> None:
        address = urlsplit(api)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            while (sent := time.perf_counter()) < until:
                writer.write(request(next(numbers)))
                load.statuses[await _status(reader)] += 1
                load.latencies.append((time.perf_counter() - sent) * 1000)
                if pause:
                    await asyncio.sleep(pause)
        finally:
            writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    load.seconds = time.perf_counter() - started
    return load


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, length = head.partition(b"content-length:")
    await reader.readexactly(int(length.partition(b"\r\n")[0] or b"0"))
    return int(head[9:12])
