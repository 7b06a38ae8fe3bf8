"""By what it is known that Redis still holds all that it once held: the epoch, and numbers that only rise."""

import asyncio
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.client import redis_errors
from shared.registry.scripts import load

Mark = tuple[int, int]
"""Where data stood: the epoch it is of, and its progress in that."""
_MARK = "epoch", "progress"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the data stands. `epoch` is None when it is gone.

    `broken`: the epoch of which it is known that data was lost. `partitions`: the marks of the partitions of
    facilities. `applied`: the newest event applied of the Event Hubs partition asked for.
    """

    epoch: int | None
    broken: int | None
    progress: int
    partitions: tuple[Mark, ...]
    applied: int | None


class Progress:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer, all of its nodes."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._raise_to = load(client, "raise_to", prelude=False)

    async def look(self, stream: str | None = None) -> Standing:
        """Returns where the data stands, having raised its progress; `stream`: an Event Hubs partition."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.get(keys.EPOCH)
            pipe.get(keys.BROKEN)
            pipe.incr(keys.PROGRESS)
            pipe.hget(keys.APPLIED, stream or "")
            for partition in keys.ALL_PARTITIONS:
                pipe.hmget(partition.progress, *_MARK)
            epoch, broken, progress, applied, *marks = await pipe.execute()
        return Standing(_number(epoch), _number(broken), int(progress), tuple(map(_mark, marks)), _number(applied))

    async def epoch(self) -> int | None:
        """Returns the epoch; None when the data is gone."""
        with redis_errors():
            return _number(await self._client.get(keys.EPOCH))

    async def partitions(self) -> tuple[Mark, ...]:
        """Returns the marks of the partitions; (0, 0) of one that is gone."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.hmget(partition.progress, *_MARK)
            return tuple(map(_mark, await pipe.execute()))

    async def advance(self) -> tuple[int, ...]:
        """Raises the progress of every partition, after it was written to; returns the new ones."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.hincrby(partition.progress, "progress", 1)
            return tuple(map(int, await pipe.execute()))

    async def applied(self, stream: str, last: int) -> None:
        """Notes the newest event applied of an Event Hubs partition, unless a newer one is noted."""
        with redis_errors():
            await self._raise_to(keys=[keys.APPLIED], args=[stream, last])

    async def forget_applied(self) -> None:
        """Lets the next event of every Event Hubs partition be the first."""
        with redis_errors():
            await self._client.delete(keys.APPLIED)

    async def give_up(self, epoch: int) -> None:
        """Makes every process treat the data of this epoch as lost, whether it sees the signs or not."""
        with redis_errors():
            await self._client.set(keys.BROKEN, epoch)

    async def begin(self, epoch: int) -> None:
        """Lets an epoch begin: last of all, so that whoever sees it finds the partitions to be of it."""
        with redis_errors():
            await asyncio.gather(
                *(self._client.hset(each.progress, "epoch", str(epoch)) for each in keys.ALL_PARTITIONS)
            )
            await self._client.set(keys.EPOCH, epoch)


def _number(reply: bytes | str | None) -> int | None:
    return None if reply is None else int(reply)


def _mark(reply: list[bytes | None]) -> Mark:
    epoch, progress = (int(value or 0) for value in reply)
    return epoch, progress
