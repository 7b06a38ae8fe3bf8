"""The numbers of a region's messages: each one more than the last, and after a loss of Redis data ahead of them all.

They count from a base in ms, which a loss renews. Far fewer messages are sent than milliseconds pass, so the next base
is ahead of every number drawn before, without these being kept anywhere else.
"""

from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.client import redis_errors


class Sequences:
    """One per process. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, now: Callable[[], int]) -> None:
        self._client = client
        self._now = now
        self._drawn: dict[str, int] = {}

    async def renew(self, base: int) -> None:
        """Lets all numbers drawn from now on, and those shown, be above `base` (ms)."""
        with redis_errors():
            if int(await self._client.get(keys.SEQUENCE_BASE) or 0) < base:
                await self._client.set(keys.SEQUENCE_BASE, base)

    async def draw(self, region_id: str) -> int:
        """Returns the number of a region's next message."""
        key = keys.sequence(region_id)
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.get(keys.SEQUENCE_BASE)
            pipe.incr(key)
            base, number = await pipe.execute()
            if base is None:
                base = self._now()
                await self._client.set(keys.SEQUENCE_BASE, base, nx=True)
            # Also above what this process drew, in case that the server has just gone back to older data; and a number
            # that begins anew, maybe because its node alone has lost its data, is ahead of all that can have been.
            taken = max(int(base), self._drawn.get(region_id, 0), self._now() if number == 1 else 0)
            if number <= taken:
                number = int(await self._client.incrby(key, taken + 1 - number))
        self._drawn[region_id] = number
        return int(number)


async def newest_sequences(client: Redis, region_ids: Sequence[str]) -> dict[str, int]:
    """Returns the number of each region's newest message; the base where none was sent since."""
    with redis_errors():
        pipe = client.pipeline(transaction=False)
        for key in (keys.SEQUENCE_BASE, *map(keys.sequence, region_ids)):
            pipe.get(key)
        base, *numbers = (int(value or 0) for value in await pipe.execute())
    return {region_id: max(number, base) for region_id, number in zip(region_ids, numbers, strict=True)}
