"""Entries that kill the process which handles them: found by the notes of those that died, and set aside.

Redis counts how often a pending entry was delivered (XPENDING), but that number also grows with every attempt during an
outage of the place where a group writes to. So a process notes the entries that a predecessor left behind as under way
before it handles them, and takes the note back whatever comes of it, be it an error: a note that is left is a death.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from shared.registry import keys
from shared.registry.client import redis_errors
from shared.stream.group import Entry
from shared.stream.setting_aside import TRIES, SettingAside

logger = logging.getLogger(__name__)

_FEW = 50
"""Entries handled together when one process has died with them in hand: it may have been chance."""
_ALONE = 2
"""Deaths after which an entry is handled alone."""
HOPELESS = _ALONE + TRIES
"""Deaths after which an entry is set aside; the one at its first delivery is not noted and comes before them."""
_FORGET_SECONDS = 24 * 3600


class DeadlyEntryError(Exception):
    """Handling an entry ends the process."""


@dataclass(frozen=True, slots=True)
class Part:
    """Entries to be handled together. `suspect`: a process died with them in hand; they are not to be kept waiting."""

    entries: list[Entry]
    suspect: bool


class DeathWatch:
    """For one group. Raises DependencyUnavailableError("redis")."""

    def __init__(self, client: Redis, group: str, setting_aside: SettingAside) -> None:
        self._client = client
        self._key = keys.under_way(group)
        self._setting_aside = setting_aside

    async def parts(self, page: Sequence[Entry]) -> list[Part]:
        """Sets aside what is hopeless; returns the other entries, in their order, in parts as large as is safe."""
        with redis_errors():
            noted = await self._client.hmget(self._key, [_field(entry) for entry in page]) if page else []
        parts: list[Part] = []
        room = 0
        for entry, count in zip(page, noted, strict=True):
            deaths = int(count or 0)
            if deaths >= HOPELESS:
                reason = f"{deaths} processes died handling it, the last ones with nothing else in hand"
                await self._setting_aside.unreadable(entry, DeadlyEntryError(reason))
                await self._forget([entry])
                continue
            suspect = deaths > 0
            if not parts or parts[-1].suspect != suspect or room == 0 or deaths >= _ALONE:
                parts.append(Part([], suspect))
                room = len(page) if not suspect else _FEW if deaths < _ALONE else 1
            parts[-1].entries.append(entry)
            room -= 1
        return parts

    @asynccontextmanager
    async def over(self, part: Part) -> AsyncIterator[None]:
        """Notes a part as under way, as long as it lasts; not in a full server, where handling it makes room."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for entry in part.entries:
                pipe.hincrby(self._key, _field(entry), 1)
            pipe.expire(self._key, _FORGET_SECONDS)
            try:
                await pipe.execute()
            except OutOfMemoryError as error:
                logger.warning("%d entries are handled without a note: redis is full: %s", len(part.entries), error)
        try:
            yield
        finally:
            await self._forget(part.entries)

    async def _forget(self, entries: Sequence[Entry]) -> None:
        with redis_errors():
            await self._client.hdel(self._key, *(_field(entry) for entry in entries))


def _field(entry: Entry) -> str:
    return f"{entry.stream} {entry.entry_id}"
