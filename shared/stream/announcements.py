"""Announcements of a stream that gives way: what somebody has not heard yet moves to its end, in an order that holds.

Browsers show the newest of what they are told, so of announcements about the same thing only the newest may follow the
others. The private database takes them in any order, and of alerts needs the newest of each state.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import msgpack
from redis.asyncio import Redis

from shared.registry.client import redis_errors, text
from shared.registry.scripts import load
from shared.stream.entries import AlertEntry, StaleEntry, UnknownEntryError, parse_change

_CHUNK = 1_000

type Announcement = StaleEntry | AlertEntry


@dataclass(frozen=True, slots=True)
class Unheard:
    """An announcement that browsers (`untold`) or the private database (`unrecorded`) have not acknowledged."""

    entry_id: str
    fields: dict[str, str]
    announcement: Announcement
    untold: bool
    unrecorded: bool


class AnnouncementsOf:
    """One stream's, as far as it has been looked through. Raises DependencyUnavailableError("redis")."""

    def __init__(self, client: Redis, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._append = load(client, "append_unless_moved", prelude=False)
        self._seen = ""
        self._newest: dict[Hashable, str] = {}

    async def move(self, unheard: Sequence[Unheard]) -> int:
        """Appends again what nothing newer has overtaken; returns how many entries that are.

        The caller removes the originals, afterwards. One that browsers need not hear any more is marked as told.
        """
        while unheard:
            # Looked through whole: what overtakes an announcement may stand anywhere behind it.
            await self._look()
            again = [fields for each in unheard if (fields := self._as_it_is_needed(each)) is not None]
            packed = [msgpack.packb([part for pair in fields.items() for part in pair]) for fields in again]
            with redis_errors():
                if not again or await self._append(keys=[self._stream], args=[self._seen, *packed]):
                    return len(again)
        return 0

    def _as_it_is_needed(self, each: Unheard) -> dict[str, str] | None:
        untold = each.untold and self._is_newest(_shown(each.announcement), each)
        unrecorded = each.unrecorded and self._is_newest(_kept(each.announcement), each)
        if untold:
            return each.fields
        return {**each.fields, "told": "1"} if unrecorded else None

    def _is_newest(self, subject: Hashable, each: Unheard) -> bool:
        return self._newest.get(subject, each.entry_id) == each.entry_id

    async def _look(self) -> None:
        while True:
            with redis_errors():
                rows = await self._client.xrange(self._stream, f"({self._seen}" if self._seen else "-", count=_CHUNK)
            for entry_id, fields in rows or ():
                self._seen = text(entry_id)
                if fields and fields.get(b"kind") != b"status":
                    self._note({text(name): text(value) for name, value in fields.items()})
            if len(rows or ()) < _CHUNK:
                return

    def _note(self, fields: dict[str, str]) -> None:
        try:
            announcement = parse_change(fields)
        except UnknownEntryError:
            return
        if isinstance(announcement, StaleEntry | AlertEntry):
            self._newest[_kept(announcement)] = self._seen
            if not announcement.told:
                self._newest[_shown(announcement)] = self._seen


def _shown(announcement: Announcement) -> Hashable:
    """What browsers are told the newest of."""
    return "stale" if isinstance(announcement, StaleEntry) else announcement.facility_id


def _kept(announcement: Announcement) -> Hashable:
    """What the private database keeps the newest of; of stale periods it keeps every mark."""
    if isinstance(announcement, StaleEntry):
        return replace(announcement, told=False)
    return announcement.facility_id, announcement.state
