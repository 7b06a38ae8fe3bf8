"""After a loss of Redis data: facilities, and sessions ended by command, come back from SQL."""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis

from shared.alerts.alerts import Alerts
from shared.domain.facility import FacilityStatus
from shared.domain.pipeline import PipelineState
from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.registry.client import redis_errors
from shared.registry.lease import Lease
from shared.registry.registry import Registry
from shared.registry.watermarks import Watermarks
from shared.store.ports import MonitorStore

logger = logging.getLogger(__name__)

VERSION_JUMP = 1_000
"""More changes of one facility than a monitor period can hold back from SQL."""
_LEASE_MS = 30_000


class Recovery:
    """Keeps the epoch: the moment at which the present Redis data began."""

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        watermarks: Watermarks,
        alerts: Alerts,
        store: MonitorStore,
        now: Callable[[], int],
    ) -> None:
        self._client = client
        self._registry = registry
        self._watermarks = watermarks
        self._alerts = alerts
        self._store = store
        self._now = now
        self._lease = Lease(client, keys.RECOVERY_LEASE, _LEASE_MS)

    async def ensure(self) -> None:
        """Returns when Redis holds what SQL knows; does work only at a first start and after a loss.

        Raises DependencyUnavailableError if another process is at it, or Redis or SQL is away.
        """
        with redis_errors():
            if await self._client.exists(keys.EPOCH):
                return
        if not await self._lease.acquire():
            raise DependencyUnavailableError("redis", "its data is being restored from SQL")
        try:
            await self._restore()
        finally:
            await self._lease.release()

    async def _restore(self) -> None:
        now = self._now()
        await asyncio.to_thread(self._store.migrate)
        states = await asyncio.to_thread(self._store.facility_states)
        ended = await asyncio.to_thread(self._store.ended_ids, now)
        restored = await self._registry.restore(states, now, version_jump=VERSION_JUMP)
        await self._alerts.restore(states, now)
        await self._registry.block((item.user_id, item.session_id, item.until) for item in ended)
        if any(state.status == FacilityStatus.ONLINE for state in states):
            await self._watermarks.save(PipelineState(stale_since=now), now, announce=True)
        with redis_errors():
            await self._client.set(keys.EPOCH, now)
        logger.info("a new epoch of Redis data begins: %d facilities, %d ended sessions from SQL", restored, len(ended))
