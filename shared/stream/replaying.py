"""What was set aside, put back to where it came from, once the reason is gone."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from redis.asyncio import Redis

from shared.registry import keys
from shared.registry.client import redis_errors
from shared.registry.dead_letters import AGENTS, INGEST, WEBHOOK, DeadLetter, DeadLetters

_STREAMS = frozenset(stream for partition in keys.ALL_PARTITIONS for stream in (partition.changes, partition.ended))
_OF_A_MOMENT = ("stale", "alert")
"""Kinds of entries that would be false later: their moment is over."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many letters were put back, and those that cannot be, each with the reason."""

    done: int
    left: list[tuple[DeadLetter, str]]


class Replay:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, dead_letters: DeadLetters, now: Callable[[], int]) -> None:
        self._client = client
        self._dead_letters = dead_letters
        self._now = now

    async def replay(self, letters: Iterable[DeadLetter]) -> Replayed:
        """Puts letters back and takes them out of the dead letters.

        An entry goes back to its stream, and so to every group: what has it already finds nothing new in it. One that
        several groups set aside goes back once.
        """
        done, left = 0, []
        appended: set[tuple[str, str]] = set()
        for letter in letters:
            problem = await self._put_back(letter, appended)
            if problem is None:
                # Only now: dying before this repeats an entry, which is harmless.
                await self._dead_letters.discard([letter])
                done += 1
            else:
                left.append((letter, problem))
        return Replayed(done, left)

    async def _put_back(self, letter: DeadLetter, appended: set[tuple[str, str]]) -> str | None:
        """Returns None when the letter is back, otherwise why it cannot be."""
        if letter.source in (INGEST, AGENTS):
            return "it is worth nothing once its time is over"
        if letter.size > len(letter.body):
            return "its body was cut"
        if letter.source == WEBHOOK:
            return await self._call_again(letter)
        stream, entry_id = letter.details.get("stream", ""), letter.details.get("entry", "")
        try:
            fields = json.loads(letter.body)
        except ValueError:
            return "its body is not JSON"
        if stream not in _STREAMS or not isinstance(fields, dict) or not fields:
            return "it does not say where it came from"
        if fields.get("kind") in _OF_A_MOMENT:
            return "an announcement of a moment that is over"
        if (stream, entry_id) not in appended:
            with redis_errors():
                await self._client.xadd(stream, fields)
            appended.add((stream, entry_id))
        return None

    async def _call_again(self, letter: DeadLetter) -> str | None:
        facility_id, _, call = letter.details.get("alert", "").partition("/")
        if not call:
            return "it does not say which alert it was"
        partition = keys.partition_of(facility_id)
        with redis_errors():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(partition.webhook_calls(facility_id), call)
                pipe.zadd(partition.webhooks, {facility_id: self._now()}, nx=True)
                await pipe.execute()
        return None
