"""Agents in Redis: one hash entry each, changed atomically by whichever process, in partitions by user.

Ingest never asks for agents, so a heartbeat that neither begins a session nor says a status costs nothing here:

    ingest, sweep, DELETE ─ same script ─▶ stream presence:{pNN} ─ follow ─▶ agents:{uNN}:<bucket>
    heartbeat with a status, PUT ─ say ──────────────────────────────────▶        │ same script
                                             Web PubSub ◀─ AgentFollower ◀─ agents-urgent, agents-traffic

Each arrow is an atomic script that leaves a durable entry behind: a process that dies between two of them leaves the
entry to the next one. Entries are followed once (each agent partition remembers how far), and sayings carry their
time, so that a batch given again changes nothing.
"""

import asyncio
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from zlib import crc32

import msgpack
from redis.asyncio import Redis

from shared.domain.agent import STATUS_CODES, STATUSES, Agent, PresenceEvent, RegionMove, Saying
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.keys import Partition, UserPartition
from shared.registry.scripts import load

_SAID, _OVER = 4, 8


@dataclass(frozen=True, slots=True)
class Position:
    """Where a listing goes on: behind this user, in the order of partition, bucket, user id."""

    partition: int = 0
    bucket: int = 0
    user_id: str = ""


class Agents:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._follow = load(client, "agents/follow")
        self._say = load(client, "agents/say")
        self._list = load(client, "agents/list")
        self._forget = load(client, "agents/forget")
        self._move = load(client, "agents/move")

    async def follow(self, sources: Mapping[Partition, Sequence[PresenceEvent]]) -> tuple[int, int]:
        """Applies entries of `presence` streams, each stream's in order; returns how many agents came and went."""
        groups: dict[UserPartition, dict[str, list[tuple[object, ...]]]] = {}
        for source, entries in sources.items():
            for entry in entries:
                partition, bucket = keys.place_of_user(entry.user_id)
                milliseconds, _, number = entry.entry_id.partition("-")
                groups.setdefault(partition, {}).setdefault(source.tag, []).append(
                    (
                        int(milliseconds),
                        int(number),
                        entry.kind,
                        entry.user_id,
                        bucket,
                        b"".join(
                            struct.pack(">II", *presence(entry.facility_id, session_id))
                            for session_id in (entry.session_ids or ("",))
                        ),
                        entry.session_ids[0] if entry.session_ids else "",
                        entry.at,
                        entry.reason,
                    )
                )
        with redis_errors():
            results = await asyncio.gather(
                *(
                    self._follow(
                        keys=partition.script_keys(),
                        # The server's msgpack knows no binary type but text.
                        args=[partition.tag, msgpack.packb(list(by_source.items()), use_bin_type=False)],
                    )
                    for partition, by_source in groups.items()
                )
            )
        return sum(came for came, _ in results), sum(went for _, went in results)

    async def hear(self, sayings: Iterable[Saying]) -> None:
        """Applies what agents said in heartbeats: the newest of each counts; repeating it changes nothing."""
        newest: dict[str, Saying] = {}
        for saying in sayings:
            held = newest.get(saying.user_id)
            if held is None or _rank(saying) > _rank(held):
                newest[saying.user_id] = saying
        groups: dict[UserPartition, list[Saying]] = {}
        for saying in newest.values():
            groups.setdefault(keys.place_of_user(saying.user_id)[0], []).append(saying)
        with redis_errors():
            await asyncio.gather(*(self._call_say(partition, group, 0) for partition, group in groups.items()))

    async def set_status(self, saying: Saying) -> Agent | None:
        """Sets an agent's status, unless a later heartbeat has said another; returns the agent, None when offline."""
        with redis_errors():
            [[online, code, since]] = await self._call_say(keys.place_of_user(saying.user_id)[0], [saying], 1)
        return Agent(saying.user_id, STATUSES[code], since) if online else None

    async def get(self, user_id: str) -> Agent | None:
        """Returns a live agent, or None."""
        return (await self.get_all([user_id])).get(user_id)

    async def get_all(self, user_ids: Sequence[str]) -> dict[str, Agent]:
        """Returns those of the users who are live agents."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for user_id in user_ids:
                partition, bucket = keys.place_of_user(user_id)
                pipe.hget(partition.bucket(bucket), user_id)
            replies = await pipe.execute()
        agents = (_agent(user_id, packed) for user_id, packed in zip(user_ids, replies, strict=True) if packed)
        return {agent.user_id: agent for agent in agents if agent.presences}

    async def move(self, moves: Iterable[RegionMove], now: int) -> int:
        """Has those agents among the users who are online announced in their new regions, and gone from the old."""
        groups: dict[UserPartition, list[tuple[str, int, str]]] = {}
        for move in moves:
            partition, bucket = keys.place_of_user(move.user_id)
            groups.setdefault(partition, []).append((move.user_id, bucket, "/".join(sorted(move.left))))
        with redis_errors():
            return sum(
                [
                    await self._move(keys=partition.script_keys(), args=[partition.tag, now, msgpack.packb(rows)])
                    for partition, rows in groups.items()
                ]
            )

    async def read(self, start: Position, count: int) -> tuple[list[Agent], Position | None]:
        """Returns about `count` entries behind a position, those without presences too, and the last one's position.

        None instead of a position: that was all. Entries that stay are returned exactly once, however long one reads.
        """
        found: list[Agent] = []
        partition_number, bucket = start.partition, start.bucket
        while partition_number < keys.PARTITIONS:
            partition = keys.ALL_USER_PARTITIONS[partition_number]
            with redis_errors():
                bucket, flat = await self._list(
                    keys=partition.script_keys(), args=[partition.tag, bucket, keys.USER_BUCKETS, count - len(found)]
                )
            rows = sorted((number, text(user_id), packed) for number, user_id, packed in batched(flat, 3, strict=True))
            for number, user_id, packed in rows:
                if (partition_number, number, user_id) > (start.partition, start.bucket, start.user_id):
                    found.append(_agent(user_id, packed))
            if bucket == keys.USER_BUCKETS:
                partition_number, bucket = partition_number + 1, 0
            if len(found) >= count:
                break
        return found, Position(partition_number, bucket) if partition_number < keys.PARTITIONS else None

    async def forget_silent(self, user_ids: Iterable[str], before: int) -> None:
        """Drops entries of users who spoke before `before` (ms) and whose session never came."""
        groups: dict[UserPartition, list[str | int]] = {}
        for user_id in user_ids:
            partition, bucket = keys.place_of_user(user_id)
            groups.setdefault(partition, []).extend((bucket, user_id))
        with redis_errors():
            for partition, pairs in groups.items():
                await self._forget(keys=partition.script_keys(), args=[partition.tag, before, *pairs])

    async def _call_say(self, partition: UserPartition, sayings: Sequence[Saying], commanded: int) -> list[list[int]]:
        rows = [
            (each.user_id, keys.place_of_user(each.user_id)[1], each.at, STATUS_CODES[each.status]) for each in sayings
        ]
        reply: list[list[int]] = await self._say(
            keys=partition.script_keys(), args=[partition.tag, commanded, msgpack.packb(rows)]
        )
        return reply


def presence(facility_id: str, session_id: str) -> tuple[int, int]:
    """Returns what an agent's entry keeps of one presence: enough to tell a user's few sessions apart."""
    return crc32(facility_id.encode()), crc32(session_id.encode())


def position_of(user_id: str) -> Position:
    """Returns where a user stands in a listing, there or not."""
    partition, bucket = keys.place_of_user(user_id)
    return Position(partition.number, bucket, user_id)


def _rank(saying: Saying) -> tuple[int, int]:
    return saying.at, STATUS_CODES[saying.status]


def _agent(user_id: str, packed: bytes) -> Agent:
    flags, since = packed[0], int.from_bytes(packed[1:7])
    head = 7 + (6 if flags & _SAID else 0) + (6 if flags & _OVER else 0)
    return Agent(user_id, STATUSES[flags & 3], since, frozenset(struct.iter_unpack(">II", packed[head:])))
