"""What waits to be sent to a region: the newest change of each facility, and announcements in their order."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.domain.facility import FacilityChange
from shared.stream.entries import StaleEntry
from shared.stream.group import Entry

SPACING = 250
"""Milliseconds between two messages of a region."""


@dataclass(slots=True)
class Batch:
    """What one tick sends to a region: one announcement, or changes (in as many messages as their size needs)."""

    region_id: str
    entries: list[Entry]
    announcement: StaleEntry | None = None
    changes: list[FacilityChange] = field(default_factory=list)


@dataclass(slots=True)
class _Region:
    announcements: deque[tuple[StaleEntry, Entry]] = field(default_factory=deque)
    changes: dict[str, FacilityChange] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    """The entries that `changes` came from, superseded ones included."""
    free_at: int = 0

    @property
    def waiting(self) -> bool:
        return bool(self.announcements or self.changes)


class Outbox:
    """Holds entries until their region may be sent to again. Times in ms."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}
        self._copies: dict[str, int] = {}

    def add_change(self, region_id: str, change: FacilityChange, entry: Entry) -> None:
        """Keeps a change if it is newer than the one that waits for its facility."""
        region = self._region(region_id)
        held = region.changes.get(change.facility_id)
        if held is None or held.version < change.version:
            region.changes[change.facility_id] = change
        region.entries.append(entry)

    def add_announcement(self, region_ids: Iterable[str], announcement: StaleEntry, entry: Entry) -> int:
        """Keeps an announcement for each of these regions; returns how many those are."""
        copies = 0
        for region_id in region_ids:
            self._region(region_id).announcements.append((announcement, entry))
            copies += 1
        self._copies[entry.entry_id] = copies
        return copies

    def take_due(self, now: int) -> list[Batch]:
        """Returns what may be sent now, at most one batch a region, which then rests for `SPACING`."""
        batches = []
        for region_id, region in self._regions.items():
            if region.free_at > now or not region.waiting:
                continue
            region.free_at = now + SPACING
            if region.announcements:
                announcement, entry = region.announcements.popleft()
                batches.append(Batch(region_id, [entry], announcement))
            else:
                batches.append(Batch(region_id, region.entries, changes=list(region.changes.values())))
                region.changes, region.entries = {}, []
        return batches

    def done_with(self, batch: Batch) -> list[Entry]:
        """Returns the entries of a sent batch that no other region still waits for."""
        if batch.announcement is None:
            return batch.entries
        (entry,) = batch.entries
        self._copies[entry.entry_id] -= 1
        return [] if self._copies[entry.entry_id] else [entry]

    def next_due(self, now: int) -> int | None:
        """Returns the ms until something can be sent or a region's rest is over; None when nothing is open."""
        moments = [region.free_at for region in self._regions.values() if region.waiting or region.free_at > now]
        return max(0, min(moments) - now) if moments else None

    def _region(self, region_id: str) -> _Region:
        return self._regions.setdefault(region_id, _Region())
