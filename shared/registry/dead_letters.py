"""What could not be handled: kept with its reason, counted, and shown to operators."""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from shared import metrics, telemetry
from shared.registry import keys
from shared.registry.client import redis_errors, text

INGEST, AGENTS, BROADCAST, SQL, CORE, WEBHOOK = "ingest", "agents", "broadcast", "sql", "core", "webhook"
SOURCES = (INGEST, AGENTS, BROADCAST, SQL, CORE, WEBHOOK)
"""Who sets aside: the reader of heartbeats, the follower of agents, the consumer groups, the caller of the webhook."""
KEPT = 10_000
"""Letters kept per source; older ones give way, the counter keeps their number."""
MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One piece set aside at `at` (ms). `details` say where it came from; `size` is the body's before it was cut."""

    source: str
    letter_id: str
    at: int
    reason: str
    body: bytes
    size: int
    details: dict[str, str]


class DeadLetters:
    """A bounded stream per source. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def add(self, source: str, reason: str, body: bytes, **details: str | int) -> None:
        """Sets one piece aside; a body beyond 64 KiB is cut and says so."""
        entry: dict[str, str | int] = {
            "reason": reason,
            "bytes": len(body),
            "body": base64.b64encode(body[:MAX_BODY]).decode(),
            **details,
        }
        metrics.dead_letters.add(1, {"source": source})
        with redis_errors():
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.xadd(keys.dead_letters(source), entry, maxlen=KEPT, approximate=True)  # type: ignore[arg-type]
                pipe.hincrby(keys.COUNTERS, "dead_letters", 1)
                await pipe.execute()
        telemetry.event("entry.set_aside", logging.WARNING, source=source, reason=reason, **details)

    async def count(self) -> int:
        """Returns how many were ever set aside."""
        with redis_errors():
            return int(await self._client.hget(keys.COUNTERS, "dead_letters") or 0)

    async def held(self) -> dict[str, int]:
        """Returns how many are kept, by source."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for source in SOURCES:
                pipe.xlen(keys.dead_letters(source))
            return dict(zip(SOURCES, await pipe.execute(), strict=True))

    async def list(self, source: str, limit: int = KEPT * 2) -> Sequence[DeadLetter]:
        """Returns what a source set aside, oldest first; with `limit` only the newest of them."""
        with redis_errors():
            rows = await self._client.xrevrange(keys.dead_letters(source), count=limit) or ()
        return [_letter(source, text(letter_id), fields or {}) for letter_id, fields in reversed(rows)]

    async def discard(self, letters: Sequence[DeadLetter]) -> None:
        """Lets go of letters that were dealt with."""
        with redis_errors():
            for letter in letters:
                await self._client.xdel(keys.dead_letters(letter.source), letter.letter_id)


def _letter(source: str, letter_id: str, fields: Mapping[Any, Any]) -> DeadLetter:
    details = {text(name): text(value) for name, value in fields.items()}
    return DeadLetter(
        source=source,
        letter_id=letter_id,
        at=int(letter_id.partition("-")[0]),
        reason=details.pop("reason", ""),
        size=int(details.pop("bytes", "0")),
        body=base64.b64decode(details.pop("body", "")),
        details=details,
    )
