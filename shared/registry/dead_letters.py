"""What could not be understood: kept with its reason, counted, and shown to operators."""

import base64

from redis.asyncio import Redis

from shared import metrics
from shared.registry import keys
from shared.registry.client import redis_errors

KEPT = 10_000
"""Entries kept; older ones give way, the counter keeps their number."""
MAX_BODY = 64 * 1024


class DeadLetters:
    """A bounded stream. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def add(self, source: str, reason: str, body: bytes, **details: str | int) -> None:
        """Sets one piece aside; a body beyond 64 KiB is cut and says so."""
        entry: dict[str, str | int] = {
            "source": source,
            "reason": reason,
            "bytes": len(body),
            "body": base64.b64encode(body[:MAX_BODY]).decode(),
            **details,
        }
        metrics.dead_letters.add(1, {"source": source})
        with redis_errors():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.xadd(keys.DEAD_LETTERS, entry, maxlen=KEPT, approximate=True)  # type: ignore[arg-type]
                pipe.hincrby(keys.COUNTERS, "dead_letters", 1)
                await pipe.execute()

    async def count(self) -> int:
        """Returns how many were ever set aside."""
        with redis_errors():
            return int(await self._client.hget(keys.COUNTERS, "dead_letters") or 0)
