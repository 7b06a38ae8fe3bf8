"""Whether everything the product needs answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shared.domain.pipeline import PipelineState
from shared.errors import DependencyUnavailableError
from shared.registry.watermarks import Watermarks
from shared.store.threads import StoreThread

_LIMIT_SECONDS = 2.0
_MAX_AGE_MS = 1_000

_log = logging.getLogger(__name__)


class Service(Protocol):
    """Something that can be asked whether it answers: `ping` returns, or raises what is wrong."""

    async def ping(self) -> None:
        """Returns if the service answers."""
        ...


class Store(Protocol):
    """The same for a database, whose calls block and therefore run on its thread."""

    @property
    def thread(self) -> StoreThread:
        """Where its calls run."""
        ...

    def ping(self) -> None:
        """Returns if the database answers."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """What each check found; `pipeline` is None when Redis could not say."""

    checks: dict[str, bool]
    pipeline: PipelineState | None
    at: int

    @property
    def healthy(self) -> bool:
        """Whether every check passed; a stalled pipeline is told, but is no reason to take this instance away."""
        return all(self.checks.values())

    def body(self) -> dict[str, Any]:
        """Returns the answer of `GET /health`."""
        lag = None if self.pipeline is None else self.pipeline.lag(self.at)
        return {
            "status": "ok" if self.healthy else "unavailable",
            "checks": self.checks,
            "pipelineLagSeconds": None if lag is None else lag / 1000,
            # Unknown counts as stale: nobody can vouch for what is shown.
            "stale": self.pipeline is None or self.pipeline.stale,
        }


class HealthCheck:
    """Asks everything at once, each for at most two seconds, and remembers the answer for one.

    The endpoint is open to anybody; asking it often must not burden what it asks.
    """

    def __init__(
        self,
        registry: Service,
        watermarks: Watermarks,
        publisher: Service,
        monitor_store: Store,
        core_store: Store,
        push: Service,
        now: Callable[[], int],
    ) -> None:
        self._watermarks = watermarks
        self._now = now
        self._pings: dict[str, Callable[[], Awaitable[None]]] = {
            "redis": registry.ping,
            "eventHubs": publisher.ping,
            "sql": lambda: _ping_stores(monitor_store, core_store),
            "webPubSub": push.ping,
        }
        self._running: dict[str, asyncio.Future[None]] = {}
        self._held: Health | None = None
        self._looking: asyncio.Task[Health] | None = None

    async def look(self) -> Health:
        """Returns the health, at most a second old; never raises."""
        if self._held is not None and 0 <= self._now() - self._held.at < _MAX_AGE_MS:
            return self._held
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    async def _look(self) -> Health:
        names = list(self._pings)
        pipeline, answers = await asyncio.gather(self._pipeline(), asyncio.gather(*map(self._answers, names)))
        self._held = Health(dict(zip(names, answers, strict=True)), pipeline, self._now())
        return self._held

    def _looked(self, _: "asyncio.Task[Health]") -> None:
        self._looking = None

    async def _answers(self, name: str) -> bool:
        # A ping that hangs goes on by itself, and no second one is started meanwhile: a thread cannot be cancelled.
        # What one answers after its time is old news.
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = asyncio.ensure_future(self._pings[name]())
        done, _ = await asyncio.wait([running], timeout=_LIMIT_SECONDS)
        if not done:
            _log.warning("%s has not answered within %g s", name, _LIMIT_SECONDS)
            return False
        error = running.exception()
        if error is not None:
            _log.warning("%s is not available: %s", name, error)
        return error is None

    async def _pipeline(self) -> PipelineState | None:
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                return await self._watermarks.load()
        except (DependencyUnavailableError, TimeoutError):
            return None


async def _ping_stores(monitor_store: Store, core_store: Store) -> None:
    await asyncio.gather(monitor_store.thread.run(monitor_store.ping), core_store.thread.run(core_store.ping))
