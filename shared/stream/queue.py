"""Streams read by one reader at a time, whose entries are deleted once they are dealt with: no group is needed."""

from collections.abc import Iterable, Sequence

from redis.asyncio import Redis

from shared.registry.client import redis_errors, text
from shared.stream.group import Entry


class StreamQueue:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, streams: Sequence[str]) -> None:
        self._client = client
        self._streams = tuple(streams)

    async def read(self, count: int) -> list[Entry]:
        """Returns the oldest entries, up to `count` a stream, each stream's in order; they stay until deleted."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for stream in self._streams:
                pipe.xrange(stream, count=count)
            replies = await pipe.execute()
        return [
            Entry(stream, text(entry_id), {text(name): text(value) for name, value in fields.items()})
            for stream, reply in zip(self._streams, replies, strict=True)
            for entry_id, fields in reply
        ]

    async def delete(self, entries: Iterable[Entry]) -> None:
        """Lets go of entries that are dealt with: those given and, in their streams, all before them."""
        newest = {entry.stream: entry.entry_id for entry in entries}
        if not newest:
            return
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for stream, entry_id in newest.items():
                milliseconds, _, number = entry_id.partition("-")
                pipe.xtrim(stream, minid=f"{milliseconds}-{int(number) + 1}", approximate=False)
            await pipe.execute()
