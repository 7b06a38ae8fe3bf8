"""Sessions ended by command (contract, `DELETE /sessions/{userId}/{sessionId}`)."""

import logging
from collections.abc import Callable

from shared.broadcast.broadcaster import Broadcaster
from shared.errors import DirectoryMissingError, PulseError
from shared.pipeline.agents import AgentFollower
from shared.registry.agents import Agents
from shared.registry.directory_cache import DirectoryCache
from shared.registry.ended_ids import KEEP_MS, EndedIds
from shared.registry.registry import Registry
from shared.store.ports import EndedId, MonitorStore

logger = logging.getLogger(__name__)

_STORE_SECONDS = 1.0


class SessionEnding:
    """Ends sessions for good, wherever they are."""

    def __init__(
        self,
        registry: Registry,
        agents: Agents,
        directory: DirectoryCache,
        ended_ids: EndedIds,
        broadcaster: Broadcaster,
        follower: AgentFollower,
        store: MonitorStore,
        now: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._agents = agents
        self._directory = directory
        self._ended_ids = ended_ids
        self._broadcaster = broadcaster
        self._follower = follower
        self._store = store
        self._now = now

    async def end(self, user_id: str, session_id: str) -> None:
        """Returns once the session is over at every facility, was there one or not; nothing brings it back for a day.

        This process refuses its heartbeats at once, the others within two seconds. Raises
        DependencyUnavailableError("redis"); then the same call may be repeated.
        """
        now = self._now()
        until = now + KEEP_MS
        result = await self._registry.end_session(user_id, session_id, await self._places(user_id), now, until)
        self._ended_ids.add(user_id, session_id, until)
        if result.changes:
            self._broadcaster.wake()
        self._follower.wake()
        await self._remember(EndedId(user_id, session_id, until))

    async def _remember(self, ended: EndedId) -> None:
        # So that a loss of Redis data brings it back not even now. Without SQL the next run of the monitor does it.
        try:
            await self._store.thread.answer(self._store.remember_ended_ids, [ended], within=_STORE_SECONDS)
        except PulseError as error:
            logger.warning("an ended session is not in SQL yet: %s", error)

    async def _places(self, user_id: str) -> set[str]:
        """Returns where the user's sessions may be: at their facilities, and at those that were theirs before."""
        agent = await self._agents.get(user_id)
        try:
            view = await self._directory.view()
            theirs = (await self._directory.facilities_of([user_id]))[user_id]
        except DirectoryMissingError:
            # Nobody is at a facility while there are none.
            return set()
        present = {checksum: view.facility_of_checksum(checksum) for checksum, _ in agent.presences} if agent else {}
        unknown = {checksum for checksum, facility_id in present.items() if facility_id is None}
        # Rare: a facility has left the directory while somebody was there.
        departed = await self._directory.departed(unknown) if unknown else set()
        return {*theirs, *departed, *(facility_id for facility_id in present.values() if facility_id)}
