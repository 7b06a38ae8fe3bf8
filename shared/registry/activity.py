"""What is counted in Redis of the hours that SQL does not hold for good yet (see `lua/activity.lua`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from redis.asyncio import Redis

from shared.domain.activity import HOUR, ActivityHour, Counts
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.keys import Partition
from shared.registry.scripts import load
from shared.stream.entries import StatusEntry, UnknownEntryError, parse_change

KEEP = 10 * 60_000
"""Milliseconds that an hour or a day stays after its end: messages that are a little late find it there."""

_PAGE, _PAGES = 1_000, 10
_SEALING = 500
"""Hours sealed in one call: some milliseconds."""
_SEALED = "~"
_FIELD = re.compile(r"(\d+)([bsxle])", re.IGNORECASE)
_KINDS = {"b": "heartbeats", "s": "started", "x": "expired", "l": "left", "e": "ended"}


@dataclass(frozen=True, slots=True)
class DueHour:
    """An hour that is to be written. `unwritten` and `written` say what `settle` needs to know it by."""

    member: str
    activity: ActivityHour
    unwritten: tuple[tuple[str, int], ...]
    written: int

    @property
    def is_sealed(self) -> bool:
        """Whether nothing is counted in it any more."""
        return _SEALED in self.member


@dataclass(frozen=True, slots=True)
class DuePage:
    """The hours of a partition that are to be written, as far as one look goes."""

    hours: list[DueHour]
    looked: int
    """How many members the look took in: with days that are over there are more of them than hours."""


class ActivityCounters:
    """Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._read = load(client, "read_activity")
        self._seal = load(client, "seal_activity")
        self._due = load(client, "due_activity")
        self._settle = load(client, "settle_activity")

    async def hours(self, facility_id: str, starts: Iterable[int]) -> list[ActivityHour]:
        """Returns the hours of a facility that are counted here, of those that begin at `starts` (ms)."""
        partition = keys.partition_of(facility_id)
        numbers = [start // HOUR for start in starts]
        with redis_errors():
            rows = await self._read(keys=partition.script_keys(), args=[*_common(partition), facility_id, *numbers])
        return [_hour(facility_id, int(number), counts, users, day) for number, counts, users, day in rows]

    async def transitions(self, facility_id: str, after: int) -> list[FacilityChange]:
        """Returns a facility's changes above version `after` as far as the stream still has them, oldest first.

        Reads back through what happened to the partition since about the last monitor run, at most 10,000 entries.
        """
        stream, last, found = keys.partition_of(facility_id).changes, "+", list[FacilityChange]()
        for _ in range(_PAGES):
            with redis_errors():
                page = await self._client.xrevrange(stream, max=last, count=_PAGE) or []
            for _, raw in page:
                change = _transition({text(name): text(value) for name, value in (raw or {}).items()}, facility_id)
                if change is None:
                    continue
                if change.version <= after:
                    return found[::-1]
                found.append(change)
            if len(page) < _PAGE:
                break
            last = f"({text(page[-1][0])}"
        return found[::-1]

    async def seal(self, partition: Partition) -> int:
        """Has everything that comes from now on counted under new epochs; returns how many hours had been begun.

        The users of an hour and a day go on.
        """
        with redis_errors():
            members = [text(each) for each in await self._client.zrange(partition.activity_due, 0, -1)]
        # An hour that joins them meanwhile has just begun.
        sealed = 0
        for at in range(0, len(members), _SEALING):
            with redis_errors():
                args = [*_common(partition), *members[at : at + _SEALING]]
                sealed += int(await self._seal(keys=partition.script_keys(), args=args))
        return sealed

    async def due(self, partition: Partition, now: int, limit: int) -> DuePage:
        """Returns the hours of a partition that are to be written, those that wait longest first.

        Looks at `limit` hours and days; lets go of days that are over.
        """
        with redis_errors():
            looked, rows = await self._due(keys=partition.script_keys(), args=[*_common(partition), now, limit, KEEP])
        found = []
        for member, counts, users, day in rows:
            hour, _, facility_id = text(member).partition("/")
            fields = {name: int(amount) for name, amount in _pairs(counts) if _FIELD.fullmatch(name)}
            found.append(
                DueHour(
                    member=text(member),
                    activity=_hour(facility_id, int(hour.partition(_SEALED)[0]), counts, users, day),
                    unwritten=tuple((name, amount) for name, amount in fields.items() if name[-1].islower()),
                    written=sum(amount for name, amount in fields.items() if name[-1].isupper()),
                )
            )
        return DuePage(found, int(looked))

    async def epoch(self) -> tuple[str | None, str | None]:
        """Returns the epoch of the Redis data, and that for which activity was last sealed."""
        with redis_errors():
            # Two keys of two cluster slots.
            now, written = await self._client.get(keys.EPOCH), await self._client.get(keys.ACTIVITY_EPOCH)
        return (None if now is None else text(now)), (None if written is None else text(written))

    async def enter(self, epoch: str) -> None:
        """Notes that what an earlier epoch counted is sealed."""
        with redis_errors():
            await self._client.set(keys.ACTIVITY_EPOCH, epoch)

    async def settle(self, partition: Partition, written: Sequence[DueHour], now: int) -> int:
        """Takes note that SQL holds these; returns how many are over and went."""
        if not written:
            return 0
        document = msgpack.packb([(each.member, each.activity.epoch, each.written, each.unwritten) for each in written])
        with redis_errors():
            return int(
                await self._settle(keys=partition.script_keys(), args=[*_common(partition), now, KEEP, document])
            )


def _transition(fields: Mapping[str, str], facility_id: str) -> FacilityChange | None:
    if fields.get("facility") != facility_id:
        return None
    try:
        entry = parse_change(fields)
    except UnknownEntryError:
        return None  # set aside by whoever reads the stream as a whole
    if not isinstance(entry, StatusEntry) or entry.change.status is FacilityStatus.REMOVED:
        return None
    return entry.change


def _common(partition: Partition) -> list[str | int]:
    # The prelude's durations; nothing here depends on them.
    return [partition.tag, 0, 0]


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[str, str]]:
    names = iter(flat)
    return ((text(name), text(value)) for name, value in zip(names, names, strict=True))


def _hour(facility_id: str, number: int, flat: Sequence[Any], users: int, users_of_day: int) -> ActivityHour:
    epoch, amounts = 0, dict[int, dict[str, int]]()
    for name, value in _pairs(flat):
        if name == "epoch":
            epoch = int(value)
        elif found := _FIELD.fullmatch(name):
            minute, kind = amounts.setdefault(int(found[1]), {}), _KINDS[found[2].lower()]
            minute[kind] = minute.get(kind, 0) + int(value)
    minutes = {minute: Counts(**kinds) for minute, kinds in sorted(amounts.items())}
    return ActivityHour(facility_id, number * HOUR, epoch, minutes, int(users), int(users_of_day))
