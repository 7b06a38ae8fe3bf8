"""How much waits in the streams and for how long; trimmed below what every group has acknowledged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from shared.registry.client import redis_errors, text


@dataclass(frozen=True, slots=True)
class GroupBacklog:
    """`waiting` entries are not acknowledged, the oldest of them is from `oldest` (ms; None without any)."""

    waiting: int
    oldest: int | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """One stream. `needed` is the first position that some group still needs, None where a group is missing."""

    stream: str
    length: int
    groups: dict[str, GroupBacklog] = field(default_factory=dict)
    needed: str | None = None


async def survey(client: Redis, streams: Sequence[str], groups: Sequence[str]) -> list[Backlog]:
    """Returns what waits in each existing stream, in two round trips. Raises DependencyUnavailableError("redis").

    For a group that has not read a stream yet, everything in it waits.
    """
    with redis_errors():
        lengths, rows = await _ask(client, streams, lambda pipe, stream: (pipe.xlen(stream), pipe.xinfo_groups(stream)))
        known = {
            stream: {text(row["name"]): row for row in rows_of}
            for stream, rows_of in zip(streams, rows, strict=True)
            if not _is_missing(rows_of)
        }
        pipe = client.pipeline(transaction=False)
        for stream, rows_of in known.items():
            pipe.xrange(stream, count=1)
            for name in groups:
                if name in rows_of:
                    pipe.xpending(stream, name)
                    pipe.xrange(stream, min=f"({text(rows_of[name]['last-delivered-id'])}", count=1)
        # A group may go while it is asked for: with the whole data, when Redis loses it.
        answers = iter(await pipe.execute(raise_on_error=False) if known else [])
        found = []
        for stream, length in zip(streams, lengths, strict=True):
            if stream not in known:
                continue
            first = _unless_gone(next(answers)) or []
            whole = GroupBacklog(length, _position(text(first[0][0]))[0] if first else None)
            backlogs, needed = {}, []
            for name in groups:
                backlogs[name] = whole
                if name in known[stream]:
                    pending, unread = _unless_gone(next(answers)), _unless_gone(next(answers))
                    if pending is not None:
                        backlogs[name], position = _group(known[stream][name], pending, unread or [])
                        needed.append(position)
            complete = len(needed) == len(groups)
            found.append(Backlog(stream, length, backlogs, _text_of(min(needed)) if complete else None))
    return found


async def trim(client: Redis, streams: Sequence[str], groups: Sequence[str]) -> tuple[int, list[Backlog]]:
    """Removes entries that every one of these groups has acknowledged; returns how many went and what waits.

    A stream that lacks one of the groups keeps everything. Raises DependencyUnavailableError("redis").
    """
    backlogs = await survey(client, streams, groups)
    with redis_errors():
        pipe = client.pipeline(transaction=False)
        for backlog in backlogs:
            if backlog.needed is not None and backlog.length:
                pipe.xtrim(backlog.stream, minid=backlog.needed, approximate=False)
        return sum(await pipe.execute()), backlogs


async def _ask(
    client: Redis, streams: Sequence[str], commands: Callable[[Any, str], object]
) -> tuple[list[Any], list[Any]]:
    pipe = client.pipeline(transaction=False)
    for stream in streams:
        commands(pipe, stream)
    answers = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not _is_missing(answer):
            raise answer
    return answers[::2], answers[1::2]


def _is_missing(answer: Any) -> bool:
    """Whether a stream was asked for that does not exist."""
    return isinstance(answer, ResponseError) and "no such key" in str(answer)


def _unless_gone(answer: Any) -> Any:
    """Returns an answer, None where there is no such group any more."""
    if isinstance(answer, ResponseError) and "NOGROUP" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _group(row: dict[str, Any], pending: dict[str, Any], unread: Sequence[Any]) -> tuple[GroupBacklog, tuple[int, int]]:
    first = []
    if pending["pending"]:
        # Without a name of the first one nothing may go.
        first.append((0, 0) if pending["min"] is None else _position(text(pending["min"])))
    if unread:
        first.append(_position(text(unread[0][0])))
    # Redis cannot tell how many are unread where entries were deleted one by one, which nothing here does.
    waiting = int(pending["pending"]) + int(row.get("lag") or 0)
    if first:
        return GroupBacklog(waiting, min(first)[0] or None), min(first)
    milliseconds, sequence = _position(text(row["last-delivered-id"]))
    return GroupBacklog(waiting, None), (milliseconds, sequence + 1)


def _position(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _text_of(position: tuple[int, int]) -> str:
    return f"{position[0]}-{position[1]}"
