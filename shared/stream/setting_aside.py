"""Entries that a consumer group cannot handle: out of the way, with their reason, after a fair number of tries."""

import json
from collections.abc import Awaitable, Callable, Iterable

from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.client import redis_errors
from shared.registry.dead_letters import DeadLetters
from shared.stream.group import Entry, StreamGroup

TRIES = 3
"""Refusals after which an entry is set aside. Outages are no refusals: those are waited out, however long."""
_FORGET_SECONDS = 24 * 3600


class SettingAside:
    """For one group. Raises DependencyUnavailableError("redis")."""

    def __init__(
        self,
        client: Redis,
        group: StreamGroup,
        dead_letters: DeadLetters,
        let_go: Callable[[Entry], Awaitable[None]] | None = None,
    ) -> None:
        """`let_go` frees what is kept in Redis until an entry is dealt with."""
        self._client = client
        self._group = group
        self._dead_letters = dead_letters
        self._let_go = let_go

    async def unreadable(self, entry: Entry, reason: Exception) -> None:
        """Sets aside what another try would not make readable."""
        await self._dead_letters.add(
            self._group.name,
            str(reason),
            json.dumps(entry.fields, ensure_ascii=False).encode(),
            stream=entry.stream,
            entry=entry.entry_id,
        )
        if self._let_go is not None:
            await self._let_go(entry)
        # Last: a process that dies before this sets the entry aside twice, never not at all.
        await self._group.acknowledge([entry])

    async def refused(self, refusals: Iterable[tuple[Entry, Exception]]) -> None:
        """Counts a refusal of each entry; those with their last one are set aside, the others stay pending."""
        counts = keys.refusals(self._group.name)
        for entry, reason in refusals:
            field = f"{entry.stream} {entry.entry_id}"
            with redis_errors():
                tries = int(await self._client.hincrby(counts, field, 1))
                # What is taken after all leaves its count behind.
                await self._client.expire(counts, _FORGET_SECONDS)
            if tries >= TRIES:
                await self.unreadable(entry, reason)
                with redis_errors():
                    await self._client.hdel(counts, field)
