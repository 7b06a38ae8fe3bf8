"""How well the pipeline does its work, measured once a minute and told to operators as one log line.

Detection lag is what Redis' own clock says: a facility's change is recorded under the time at which a script made it,
and holds the deadline that made it due.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from redis.asyncio import Redis

from shared import telemetry
from shared.domain.facility import FacilityStatus
from shared.domain.session import EndReason
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.dead_letters import DeadLetters
from shared.registry.watermarks import Watermarks
from shared.stream.entries import StatusEntry, UnknownEntryError, parse_change

EVENT = "pipeline.measured"
WINDOW = 60_000
"""Milliseconds that a measurement looks back."""
_MOST = 5_000  # entries looked at per partition: enough for a percentile, and no load


@dataclass(frozen=True, slots=True)
class Measures:
    """Durations in ms; those of detection are None when nothing expired in the window."""

    pipeline_lag: int | None
    stale: bool
    expired: int
    detection_lag_p50: int | None
    detection_lag_p99: int | None
    detection_lag_max: int | None
    set_aside: int

    def fields(self) -> dict[str, Any]:
        """Returns what the log line says, in seconds."""
        return {
            "pipelineLagSeconds": _seconds(self.pipeline_lag),
            "stale": self.stale,
            "expired": self.expired,
            "detectionLagP50Seconds": _seconds(self.detection_lag_p50),
            "detectionLagP99Seconds": _seconds(self.detection_lag_p99),
            "detectionLagMaxSeconds": _seconds(self.detection_lag_max),
            "setAside": self.set_aside,
        }


class PipelineMeter:
    """Only reads. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(
        self, client: Redis, watermarks: Watermarks, dead_letters: DeadLetters, now: Callable[[], int]
    ) -> None:
        self._client = client
        self._watermarks = watermarks
        self._dead_letters = dead_letters
        self._now = now

    async def report(self) -> Measures:
        """Measures, logs `pipeline.measured {…}`, and returns the measures."""
        measures = await self.measure()
        telemetry.event(EVENT, **measures.fields())
        return measures

    async def measure(self) -> Measures:
        """Returns how things stand, and how late facilities that fell silent in the last minute were called offline."""
        now = self._now()
        state = await self._watermarks.load()
        lags = sorted(await self._detection_lags(now - WINDOW))
        return Measures(
            pipeline_lag=state.lag(now),
            stale=state.stale,
            expired=len(lags),
            detection_lag_p50=_percentile(lags, 0.50),
            detection_lag_p99=_percentile(lags, 0.99),
            detection_lag_max=lags[-1] if lags else None,
            set_aside=await self._dead_letters.count(),
        )

    async def _detection_lags(self, since: int) -> list[int]:
        with redis_errors():
            async with self._client.pipeline(transaction=False) as pipe:
                for partition in keys.ALL_PARTITIONS:
                    pipe.xrange(partition.changes, min=since, count=_MOST)
                answers = await pipe.execute()
        return [lag for entries in answers for lag in _lags(entries)]


def _lags(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterable[int]:
    for entry_id, fields in entries:
        try:
            parsed = parse_change({text(name): text(value) for name, value in fields.items()})
        except UnknownEntryError:
            continue  # whoever consumes the stream sets it aside
        if not isinstance(parsed, StatusEntry):
            continue
        change = parsed.change
        if change.status is FacilityStatus.OFFLINE and change.reason == EndReason.EXPIRED:
            yield max(0, int(text(entry_id).partition("-")[0]) - change.since)


def _percentile(ordered: list[int], share: float) -> int | None:
    return ordered[ceil(share * len(ordered)) - 1] if ordered else None


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
