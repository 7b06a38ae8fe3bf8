"""A consumer group over several Redis streams: read, acknowledge after success, read again what was not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.registry.client import redis_errors

BROADCAST = "broadcast"
SQL = "sql"

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
        self._client = client
        self._name = name
        self._streams = tuple(streams)

    async def read_pending(self, count: int) -> list[Entry]:
        """Returns the oldest entries that were read and never acknowledged, up to `count` a stream."""
        return await self._read("0", count)

    async def read_new(self, count: int) -> list[Entry]:
        """Returns entries not read before, up to `count` a stream; they are pending from now on."""
        return await self._read(">", count)

    async def acknowledge(self, entries: Iterable[Entry]) -> None:
        """Marks entries as done."""
        by_stream: dict[str, list[str]] = {}
        for entry in entries:
            by_stream.setdefault(entry.stream, []).append(entry.entry_id)
        if not by_stream:
            return
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for stream, ids in by_stream.items():
                pipe.xack(stream, self._name, *ids)
            await pipe.execute()

    async def _read(self, position: str, count: int) -> list[Entry]:
        with redis_errors():
            replies = await self._read_all(self._streams, position, count)
            missing = [stream for stream, reply in replies.items() if _lacks_group(reply)]
            if missing:
                # A first start, or the data was lost. Only these are read again: what the others gave is pending now.
                await self._create_groups(missing)
                replies |= await self._read_all(missing, position, count)
            for reply in replies.values():
                if isinstance(reply, Exception):
                    raise reply
        return [
            Entry(stream, _text(entry_id), {_text(name): _text(value) for name, value in fields.items()})
            for stream, reply in replies.items()
            for entry_id, fields in _entries(reply)
            if fields
        ]

    async def _read_all(self, streams: Sequence[str], position: str, count: int) -> dict[str, object]:
        pipe = self._client.pipeline(transaction=False)
        for stream in streams:
            pipe.xreadgroup(self._name, _CONSUMER, {stream: position}, count=count)
        return dict(zip(streams, await pipe.execute(raise_on_error=False), strict=True))

    async def _create_groups(self, streams: Iterable[str]) -> None:
        for stream in streams:
            try:
                await self._client.xgroup_create(stream, self._name, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise


async def trim(client: Redis, streams: Iterable[str], groups: Sequence[str]) -> int:
    """Removes entries that every one of these groups has acknowledged; returns how many went.

    A stream that lacks one of the groups keeps everything.
    """
    removed = 0
    with redis_errors():
        for stream in streams:
            if not await client.exists(stream):
                continue
            oldest_needed = []
            for group in await client.xinfo_groups(stream):
                if _text(group["name"]) not in groups:
                    continue
                if group["pending"]:
                    pending = await client.xpending(stream, group["name"])
                    oldest_needed.append(_position(_text(pending["min"])))
                else:
                    milliseconds, sequence = _position(_text(group["last-delivered-id"]))
                    oldest_needed.append((milliseconds, sequence + 1))
            if len(oldest_needed) == len(groups):
                milliseconds, sequence = min(oldest_needed)
                removed += int(await client.xtrim(stream, minid=f"{milliseconds}-{sequence}", approximate=False))
    return removed


def _position(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _lacks_group(reply: object) -> bool:
    return isinstance(reply, ResponseError) and "NOGROUP" in str(reply)


def _entries(reply: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Returns the entries of one stream's reply: a mapping of lists under RESP3, a list of pairs under RESP2."""
    if not reply:
        return []
    (found,) = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply]  # type: ignore[attr-defined]
    # RESP3 wraps the entries of a stream in one more list.
    return list(found[0] if found and isinstance(found[0], list) else found)
