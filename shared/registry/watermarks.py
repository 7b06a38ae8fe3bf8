"""How far ingestion has come: canaries seen per Event Hubs partition, and the state of the pipeline."""

from collections.abc import Collection, Mapping

import msgpack
from redis.asyncio import Redis

from shared.domain.pipeline import PipelineState
from shared.domain.silence import Silence
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.scripts import load

IN_FLIGHT = 200
"""Milliseconds between a heartbeat's receivedAt and its place in the stream, at most (and the clocks' difference).

A canary proves that everything offered before it is ingested; what was stamped before it may be offered just after.
"""


class Watermarks:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._raise_to = load(client, "raise_to", prelude=False)
        self._save = load(client, "save_pipeline", prelude=False)

    async def record(self, canaries: Mapping[str, int]) -> None:
        """Notes the newest canary ingested per Event Hubs partition (send times in ms); call it after their batch."""
        with redis_errors():
            await self._raise_to(keys=[keys.INGESTED], args=[part for pair in canaries.items() for part in pair])

    async def ingested(self, partitions: Collection[str]) -> int | None:
        """Returns the moment up to which every one of these partitions is ingested; None if one never was."""
        with redis_errors():
            values = await self._client.hmget(keys.INGESTED, list(partitions))
        marks = [int(value) for value in values if value is not None]
        return min(marks) - IN_FLIGHT if marks and len(marks) == len(values) else None

    async def load(self) -> PipelineState:
        """Returns the state as last saved."""
        with redis_errors():
            row = await self._client.hgetall(keys.PIPELINE)
        values = {text(name): int(value) for name, value in row.items()}
        silence = Silence(
            values.get("silent_since"),
            values.get("silent_until"),
            values.get("silent_heard_at"),
            bool(values.get("silence_rests")),
        )
        return PipelineState(
            values.get("watermark"),
            values.get("stale_since"),
            values.get("hold_until"),
            silence,
            values.get("swept_at"),
        )

    async def save(
        self, state: PipelineState, now: int, *, before: PipelineState | None, announce: str | None = None
    ) -> bool:
        """Replaces `before`, as it was loaded (None: whatever is there); returns False if another process did first.

        With `announce` (`stalled`, `lost` or `silence`) the stale flag goes out to every region with that cause, in the
        same step.
        """
        fields = {
            "watermark": state.watermark,
            "stale_since": state.stale_since,
            "hold_until": state.hold_until,
            "silent_since": state.silence.since,
            "silent_until": state.silence.until,
            "silent_heard_at": state.silence.heard_at,
            "silence_rests": 1 if state.silence.resting else None,
            "swept_at": now,
        }
        row = [text for name, value in fields.items() if value is not None for text in (name, str(value))]
        since = now if state.unsure_since is None else state.unsure_since
        announcement = (int(state.stale), since, announce) if announce else ()
        read = "*" if before is None else "" if before.swept_at is None else before.swept_at
        with redis_errors():
            saved = await self._save(
                keys=[keys.PIPELINE, keys.CONTROL_STREAM],
                args=[read, msgpack.packb(row), *announcement],
            )
        return bool(saved)

    async def swept_at(self) -> int | None:
        """Returns when the sweep last ran (ms)."""
        return (await self.load()).swept_at
