"""Agents from presences, and what admins and users are told of them (contract, "Web PubSub")."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from shared.broadcast import messages
from shared.broadcast.push import PushService
from shared.domain.agent import PresenceEvent
from shared.errors import DirectoryMissingError, PushRefusedError
from shared.registry import keys
from shared.registry.agents import Agents
from shared.registry.dead_letters import AGENTS, DeadLetters
from shared.registry.directory_cache import DirectoryCache
from shared.registry.errand import Errand
from shared.registry.keys import Partition
from shared.stream.entries import AgentEntry, SessionEntry, UnknownEntryError, parse_agent_news, parse_presence
from shared.stream.group import Entry
from shared.stream.queue import StreamQueue

_FOLLOWED = 100
"""Entries followed per stream at once. Few, so that heartbeats and the sweep, in Redis at the same time, come first."""
_URGENT, _TRAFFIC = 64, 4
"""Entries sent per stream at once. Little traffic at a time, so that something urgent never waits long behind it."""
TRAFFIC_MAX_AGE = 15_000
"""Milliseconds after which it is too late to tell that somebody came or went: when thousands do at once, or after an
outage, `GET /agents` is how a panel catches up."""
TRAFFIC_RATE = 400
"""Messages a second of traffic, so that a mass arrival leaves the process free for heartbeats."""
_AT_ONCE = 16


class AgentFollower:
    """Keeps agents as the sessions are. One process at a time, by lease; any of them takes over."""

    def __init__(self, client: Redis, agents: Agents, dead_letters: DeadLetters, announcer: "AgentAnnouncer") -> None:
        self._agents = agents
        self._dead_letters = dead_letters
        self._announcer = announcer
        self._queue = StreamQueue(client, [partition.presence for partition in keys.ALL_PARTITIONS])
        self._sources = {partition.presence: partition for partition in keys.ALL_PARTITIONS}
        self.errand = Errand(client, keys.AGENTS_LEASE, keys.AGENTS_WANTED, self._follow)

    def wake(self) -> None:
        """Has presences followed in the background."""
        self.errand.wake()

    async def close(self) -> None:
        """Stops following."""
        await self.errand.close()

    async def _follow(self, keep: Callable[[], Awaitable[bool]]) -> None:
        while await keep():
            entries = await self._queue.read(_FOLLOWED)
            if not entries:
                # Woken even so: what a process left behind before it could send it waits there.
                self._announcer.wake()
                return
            sources: dict[Partition, list[PresenceEvent]] = {}
            for entry in entries:
                try:
                    parsed = parse_presence(entry.entry_id, entry.fields)
                except UnknownEntryError as error:
                    await self._dead_letters.add(AGENTS, str(error), repr(entry.fields).encode(), entry=entry.entry_id)
                else:
                    sources.setdefault(self._sources[entry.stream], []).append(parsed)
            await self._agents.follow(sources)
            await self._queue.delete(entries)
            self._announcer.wake()


class AgentAnnouncer:
    """Tells admins and users what changed. One process at a time, by lease; any of them takes over.

    Messages carry their time and are not numbered, so one that is sent twice, or late, does no harm.
    """

    def __init__(
        self,
        client: Redis,
        directory: DirectoryCache,
        push: PushService,
        dead_letters: DeadLetters,
        now: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._push = push
        self._dead_letters = dead_letters
        self._now = now
        self._urgent = StreamQueue(client, [partition.urgent for partition in keys.ALL_USER_PARTITIONS])
        self._traffic = StreamQueue(client, [partition.traffic for partition in keys.ALL_USER_PARTITIONS])
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.errand = Errand(client, keys.AGENT_NEWS_LEASE, keys.AGENT_NEWS_WANTED, self._announce)

    def wake(self) -> None:
        """Has news sent in the background."""
        self.errand.wake()

    async def close(self) -> None:
        """Stops sending; what was not sent stays for the next holder of the lease."""
        await self.errand.close()

    async def _announce(self, keep: Callable[[], Awaitable[bool]]) -> None:
        while await keep():
            urgent = await self._urgent.read(_URGENT)
            if urgent:
                await self._send(urgent)
                await self._urgent.delete(urgent)
                continue
            traffic = await self._traffic.read(_TRAFFIC)
            if not traffic:
                return
            oldest = self._now() - TRAFFIC_MAX_AGE
            started = asyncio.get_running_loop().time()
            sent = await self._send([entry for entry in traffic if int(entry.entry_id.partition("-")[0]) >= oldest])
            await self._traffic.delete(traffic)
            await asyncio.sleep(max(0.0, started + sent / TRAFFIC_RATE - asyncio.get_running_loop().time()))

    async def _send(self, entries: Sequence[Entry]) -> int:
        """Sends what entries tell, of each agent the newest status alone; returns how many messages that made."""
        statuses: dict[tuple[str, frozenset[str] | None], AgentEntry] = {}
        sessions: list[SessionEntry] = []
        for entry in entries:
            try:
                parsed = parse_agent_news(entry.fields)
            except UnknownEntryError as error:
                await self._dead_letters.add(AGENTS, str(error), repr(entry.fields).encode(), entry=entry.entry_id)
                continue
            if isinstance(parsed, AgentEntry):
                held = statuses.get(key := (parsed.user_id, parsed.region_ids))
                if held is None or parsed.since >= held.since:
                    statuses[key] = parsed
            else:
                sessions.append(parsed)
        regions = await self._regions([user_id for user_id, _ in statuses])
        sends = [
            self._to_user(session.user_id, messages.session_ended(session.session_id, session.reason))
            for session in sessions
        ]
        for (user_id, only), news in statuses.items():
            message = messages.agent_status(user_id, news.status, news.since)
            if only is None:
                sends.append(self._to_user(user_id, message))
            told = regions[user_id] if only is None else only - regions[user_id]
            sends += [self._to_group(messages.agents_group(region_id), message) for region_id in sorted(told)]
        results = await asyncio.gather(*sends, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(sends)

    async def _regions(self, user_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        try:
            view = await self._directory.view()
            facilities = await self._directory.facilities_of(user_ids)
        except DirectoryMissingError:
            return dict.fromkeys(user_ids, frozenset())
        return {
            user_id: frozenset(entry.region_id for entry in map(view.facility, facilities[user_id]) if entry)
            for user_id in user_ids
        }

    async def _to_user(self, user_id: str, message: dict[str, Any]) -> None:
        await self._to(self._push.send_to_user, user_id, message)

    async def _to_group(self, group: str, message: dict[str, Any]) -> None:
        await self._to(self._push.send_to_group, group, message)

    async def _to(
        self, send: Callable[[str, dict[str, Any]], Awaitable[None]], target: str, message: dict[str, Any]
    ) -> None:
        async with self._room:
            try:
                await send(target, message)
            except PushRefusedError as error:
                await self._dead_letters.add(AGENTS, str(error), json.dumps(message).encode(), target=target)
