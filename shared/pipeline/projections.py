"""What the streams hold, carried into SQL: each entry once it is committed, and none behind a bad one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared.domain.alert import AnnouncedAlert
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.errors import StoreError
from shared.registry.lease import Lease
from shared.store.ports import StaleMark
from shared.stream.deaths import DeathWatch
from shared.stream.entries import AlertEntry, StaleEntry, StatusEntry, UnknownEntryError, parse_change
from shared.stream.group import Entry, StreamGroup
from shared.stream.isolating import HOPELESS, isolate
from shared.stream.setting_aside import SettingAside

_READ = 500
"""Entries read per stream at once; also what one SQL transaction holds, times the partitions."""


class Projection[T]:
    """One consumer group's way into one database. `apply` is idempotent: after a crash it gets entries again."""

    def __init__(
        self,
        group: StreamGroup,
        parse: Callable[[Mapping[str, str]], T | None],
        apply: Callable[[Sequence[T]], Awaitable[int]],
        setting_aside: SettingAside,
        deaths: DeathWatch,
        lease: Lease,
        *,
        repeats_prove: bool = False,
    ) -> None:
        """`parse` returns None for entries that this database does not record.

        `repeats_prove`: a database that takes again what it has taken before would take any entry that is in order.
        """
        self._group = group
        self._parse = parse
        self._apply = apply
        self._setting_aside = setting_aside
        self._deaths = deaths
        self._lease = lease
        self._repeats_prove = repeats_prove
        self._known: T | None = None
        self._moved = 0
        self._taken = False

    async def run(self) -> int:
        """Moves everything that waits; returns the rows that were new to the database.

        What an earlier run read and could not finish comes first. Entries that cannot be parsed are set aside at
        once, those that the database refuses while it takes others (new ones, or one that it has) after a few runs,
        those that kill the process after a few deaths. Raises DependencyUnavailableError when it is away, and
        StoreError when it refuses everything: then nothing is acknowledged or set aside.
        """
        self._moved, self._taken = 0, False
        refused: list[tuple[Entry, StoreError]] = []
        async for page in self._group.pending(_READ):
            for part in await self._deaths.parts(page):
                async with self._deaths.over(part):
                    refused += await self._move(part.entries)
        while not self._lease.lost and (page := await self._group.read_new(_READ)):
            refused += await self._move(page)
            if refused and not self._taken:
                break
        if refused:
            if not self._taken and not await self._is_well(refused):
                # Not a single one was taken: it is the database that something is wrong with, not what is in it.
                raise refused[0][1]
            await self._setting_aside.refused(refused)
        return self._moved

    async def _is_well(self, refused: Sequence[tuple[Entry, StoreError]]) -> bool:
        """Returns whether the database takes again what it has taken before, so that it minds the few refused ones.

        On a quiet system nothing else would come that could tell.
        """
        # Of more than these not each was tried.
        if not self._repeats_prove or self._known is None or len(refused) >= HOPELESS:
            return False
        try:
            await self._apply([self._known])
        except StoreError:
            return False
        return True

    async def _move(self, page: Sequence[Entry]) -> list[tuple[Entry, StoreError]]:
        """Returns what was refused."""
        finished: list[Entry] = []
        items: list[tuple[Entry, T]] = []
        for entry in page:
            try:
                item = self._parse(entry.fields)
            except UnknownEntryError as error:
                await self._setting_aside.unreadable(entry, error)
                continue
            if item is None:
                finished.append(entry)
            else:
                items.append((entry, item))

        async def apply(part: Sequence[tuple[Entry, T]]) -> None:
            self._moved += await self._apply([item for _, item in part])

        outcome = await isolate(items, apply, StoreError)
        await self._group.acknowledge([*finished, *(entry for entry, _ in outcome.done)])
        if outcome.done:
            self._taken = True
            _, self._known = outcome.done[-1]
        return [(entry, error) for (entry, _), error in outcome.refused]


def history_record(fields: Mapping[str, str]) -> FacilityChange | StaleMark | AnnouncedAlert:
    """Returns what a `changes` entry adds to the private database. Raises UnknownEntryError."""
    match parse_change(fields):
        case StatusEntry(change):
            return change
        case StaleEntry(stale, since, cause, began):
            return StaleMark(stale, since, cause, began)
        case AlertEntry(facility_id, state, since, at):
            return AnnouncedAlert(facility_id, state, since, at)


def connectivity(fields: Mapping[str, str]) -> FacilityChange | None:
    """Returns the change of a `changes` entry if it is about a facility that is there. Raises UnknownEntryError."""
    match parse_change(fields):
        case StatusEntry(change) if change.status is not FacilityStatus.REMOVED:
            return change
        case _:
            return None


def newest(changes: Sequence[FacilityChange]) -> list[FacilityChange]:
    """Returns each facility's newest change."""
    found: dict[str, FacilityChange] = {}
    for change in changes:
        held = found.get(change.facility_id)
        if held is None or held.version < change.version:
            found[change.facility_id] = change
    return list(found.values())
