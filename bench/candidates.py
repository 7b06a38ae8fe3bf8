"""The layouts of session values and deadlines in Redis that `bench.layouts` compares; each as it would be used."""

import asyncio
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from zlib import crc32

import msgpack
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from bench import product
from shared.domain.heartbeat import Heartbeat
from shared.registry import keys

TTL = 90_000
_LUA = Path(__file__).parent / "lua"
_VISITS = 500  # entries that one call of a sweep visits, as the product does

Beat = tuple[str, str, str, int]
"""Facility, user, session, receivedAt in ms."""


class Layout(Protocol):
    """Takes heartbeats and finds out who has fallen silent."""

    async def beats(self, beats: Sequence[Beat]) -> None:
        """Applies heartbeats."""

    async def sweep(self, watermark: int) -> int:
        """Ends every session whose deadline is not after the watermark (ms); returns how many."""


class Product:
    """The product's registry with all of its rules."""

    def __init__(self, client: Redis) -> None:
        self._up = product.services(client, Path(tempfile.gettempdir()))
        self.registry = self._up.registry

    async def beats(self, beats: Sequence[Beat]) -> None:
        """Applies heartbeats."""
        await self.registry.ingest([(facility, Heartbeat(user, session, at)) for facility, user, session, at in beats])

    async def sweep(self, watermark: int) -> int:
        """Ends what is due."""
        ended = 0
        for partition in keys.ALL_PARTITIONS:
            more = True
            while more:
                result = await self.registry.sweep(partition, watermark)
                ended, more = ended + result.ended, result.more
        return ended

    async def settle(self) -> None:
        """Lets go of what waits for others: agents are followed, changes have been read by all."""
        await product.follow_agents(self._up)
        for partition in keys.ALL_PARTITIONS:
            await self._up.redis.delete(partition.changes)


class Scripted:
    """A layout whose two scripts are in `lua/`; one call per partition and batch, as the product does."""

    def __init__(self, client: Redis, name: str, *extra: str) -> None:
        head = (_LUA / "head.lua").read_text(encoding="utf-8")
        self._beat = _load(client, f"{name}_beat", head)
        self._sweep = _load(client, f"{name}_sweep", head)
        self._extra = extra

    async def beats(self, beats: Sequence[Beat]) -> None:
        """Applies heartbeats."""
        groups: dict[int, dict[str, list[tuple[str, int]]]] = {}
        for facility, user, session, at in beats:
            by_facility = groups.setdefault(crc32(facility.encode()) % keys.PARTITIONS, {})
            by_facility.setdefault(facility, []).append((f"{user}/{session}", at))
        await asyncio.gather(
            *(
                self._beat(args=[f"{{p{number:02d}}}", TTL, msgpack.packb(list(group.items())), *self._extra])
                for number, group in groups.items()
            )
        )

    async def sweep(self, watermark: int) -> int:
        """Ends what is due."""
        total = 0
        for partition in keys.ALL_PARTITIONS:
            more = 1
            while more:
                ended, more = await self._sweep(args=[partition.tag, TTL, watermark, _VISITS])
                total += ended
        return total


class Presence:
    """A hash and a sorted set per channel, purged when it is read: presence as Centrifuge publishes it."""

    def __init__(self, client: Redis, ttl: int = 3_600 + TTL // 1000) -> None:
        self._client = client
        self._ttl = ttl
        self._add = _load(client, "presence_add")
        self._read = _load(client, "presence_read")
        self.channels: set[str] = set()

    async def beats(self, beats: Sequence[Beat]) -> None:
        """Applies heartbeats, one call each, in one pipeline."""
        pipe = self._client.pipeline(transaction=False)
        for facility, user, session, at in beats:
            self.channels.add(facility)
            member = json.dumps({"user": user, "client": session})
            lapses = (at + TTL) / 1000
            await self._add(keys=_channel(facility), args=[lapses, session, member, self._ttl], client=pipe)
        await pipe.execute()

    async def sweep(self, watermark: int) -> int:
        """Reads every channel, which is the only way to find out."""
        purged = 0
        for chunk in _chunks(sorted(self.channels), _VISITS):
            purged += sum((await self.read(chunk, watermark)).values())
        return purged

    async def read(self, channels: Sequence[str], at: float) -> dict[str, int]:
        """Reads channels at a moment (ms); returns how many members of each have lapsed since it was last read."""
        pipe = self._client.pipeline(transaction=False)
        for channel in channels:
            await self._read(keys=_channel(channel), args=[at / 1000], client=pipe)
        return {channel: purged for channel, (purged, _) in zip(channels, await pipe.execute(), strict=True)}


class SourceDesign:
    """An expiring key and a value per session, written together; who is gone is found by a scan of all values."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def beats(self, beats: Sequence[Beat]) -> None:
        """Applies heartbeats, a transaction each, in one pipeline."""
        pipe = self._client.pipeline(transaction=False)
        for facility, user, session, at in beats:
            value = {"userId": user, "sessionId": session, "facilityId": facility, "start": at, "end": at + TTL}
            pipe.execute_command("MULTI")
            pipe.set(f"sessions:{user}:{session}", "", pxat=at + TTL)
            pipe.set(f"values:{user}:{session}", json.dumps(value))
            pipe.execute_command("EXEC")
        await pipe.execute()

    async def sweep(self, watermark: int) -> int:
        """Reads every value; marks those that are over."""
        cursor, ended = 0, 0
        while True:
            cursor, names = await self._client.scan(cursor, match="values:*", count=1_000)
            pipe = self._client.pipeline(transaction=False)
            for name, raw in zip(names, await self._client.mget(names) if names else [], strict=True):
                value = json.loads(raw or "{}")
                if "offline" not in value and value["end"] <= watermark:
                    pipe.set(name, json.dumps(value | {"offline": value["end"]}))
                    ended += 1
            await pipe.execute()
            if cursor == 0:
                return ended


def _channel(facility: str) -> list[str]:
    return [f"presence:expire:{facility}", f"presence:data:{facility}"]


def _load(client: Redis, name: str, head: str = "") -> AsyncScript:
    return client.register_script(f"{head}\n{(_LUA / f'{name}.lua').read_text(encoding='utf-8')}")


def _chunks[T](items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
