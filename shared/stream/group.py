"""A consumer group over several Redis streams: read, acknowledge after success, read again what was not."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.registry.client import redis_errors, text

BROADCAST = "broadcast"
"""Browsers."""
SQL = "sql"
"""The private database."""
CORE = "core"
"""The core database; a group of its own, because either database may be away while the other answers."""

_CONSUMER = "one"
"""Groups are read by one process at a time (by lease) under one name, so a successor finds its pending entries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry. `entry_id` is Redis's; `fields` are decoded text."""

    stream: str
    entry_id: str
    fields: dict[str, str]


class StreamGroup:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, name: str, streams: Sequence[str]) -> None:
        self.name = name
        self._client = client
        self._streams = tuple(streams)

    async def pending(self, count: int) -> AsyncIterator[list[Entry]]:
        """Yields what was read and never acknowledged, oldest first, each entry once, up to `count` a stream at once.

        The caller may acknowledge while it iterates.
        """
        positions = dict.fromkeys(self._streams, "0")
        while positions:
            entries, last = await self._read(positions, count)
            # A stream that gave less than it was asked for has no more.
            positions = {stream: entry_id for stream, (entry_id, given) in last.items() if given >= count}
            if entries:
                yield entries

    async def read_new(self, count: int) -> list[Entry]:
        """Returns entries not read before, up to `count` a stream; they are pending from now on."""
        entries, _ = await self._read(dict.fromkeys(self._streams, ">"), count)
        return entries

    async def acknowledge(self, entries: Iterable[Entry]) -> None:
        """Marks entries as done."""
        by_stream: dict[str, list[str]] = {}
        for entry in entries:
            by_stream.setdefault(entry.stream, []).append(entry.entry_id)
        await self._acknowledge(by_stream)

    async def _acknowledge(self, by_stream: Mapping[str, Sequence[str]]) -> None:
        if not by_stream:
            return
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for stream, ids in by_stream.items():
                pipe.xack(stream, self.name, *ids)
            await pipe.execute()

    async def _read(self, positions: Mapping[str, str], count: int) -> tuple[list[Entry], dict[str, tuple[str, int]]]:
        """Returns the entries behind these positions, and per stream the last id seen and how many there were."""
        with redis_errors():
            replies = await self._read_all(positions, count)
            missing = [stream for stream, reply in replies.items() if _lacks_group(reply)]
            if missing:
                # A first start, or the data was lost. Only these are read again: what the others gave is pending now.
                await self._create_groups(missing)
                replies |= await self._read_all({stream: positions[stream] for stream in missing}, count)
            for reply in replies.values():
                if isinstance(reply, Exception):
                    raise reply
        entries: list[Entry] = []
        last: dict[str, tuple[str, int]] = {}
        gone: dict[str, list[str]] = {}
        for stream, reply in replies.items():
            found = _entries(reply)
            if found:
                last[stream] = text(found[-1][0]), len(found)
            for entry_id, fields in found:
                if fields:
                    named = {name.decode(): value.decode() for name, value in fields.items()}
                    entries.append(Entry(stream, text(entry_id), named))
                else:
                    gone.setdefault(stream, []).append(text(entry_id))
        # Cut from the stream while it was pending (see `backlog`): there is nothing left to handle.
        await self._acknowledge(gone)
        return entries, last

    async def _read_all(self, positions: Mapping[str, str], count: int) -> dict[str, object]:
        pipe = self._client.pipeline(transaction=False)
        for stream, position in positions.items():
            pipe.xreadgroup(self.name, _CONSUMER, {stream: position}, count=count)
        return dict(zip(positions, await pipe.execute(raise_on_error=False), strict=True))

    async def _create_groups(self, streams: Iterable[str]) -> None:
        for stream in streams:
            try:
                await self._client.xgroup_create(stream, self.name, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise


def _lacks_group(reply: object) -> bool:
    return isinstance(reply, ResponseError) and "NOGROUP" in str(reply)


def _entries(reply: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Returns the entries of one stream's reply: a mapping of lists under RESP3, a list of pairs under RESP2."""
    if not reply:
        return []
    (found,) = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply]  # type: ignore[attr-defined]
    # RESP3 wraps the entries of a stream in one more list.
    return list(found[0] if found and isinstance(found[0], list) else found)
