"""What waits to be sent to a region: the newest change of each facility, and announcements in their order."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.domain.facility import FacilityChange
from shared.stream.entries import AlertEntry, StaleEntry
from shared.stream.group import Entry

SPACING = 250
"""Milliseconds between two messages of a region."""

type Announcement = StaleEntry | AlertEntry


@dataclass(frozen=True, slots=True)
class WaitingChange:
    """A facility's newest change and the entry that it came from."""

    change: FacilityChange
    entry: Entry


@dataclass(frozen=True, slots=True)
class WaitingAnnouncement:
    """What fills a message of its own, and the entry that it came from."""

    announcement: Announcement
    entry: Entry


@dataclass(frozen=True, slots=True)
class Batch:
    """What one tick sends to a region: one announcement, or changes (in as many messages as their size needs)."""

    region_id: str
    content: WaitingAnnouncement | list[WaitingChange]


@dataclass(slots=True)
class _Region:
    stale: deque[WaitingAnnouncement] = field(default_factory=deque)
    alerts: deque[WaitingAnnouncement] = field(default_factory=deque)
    changes: dict[str, WaitingChange] = field(default_factory=dict)
    alert_is_next: bool = False
    free_at: int = 0

    @property
    def waiting(self) -> bool:
        return bool(self.stale or self.alerts or self.changes)

    def rests(self, now: int) -> bool:
        """Whether its last message is too recent; no rest is longer, so a clock that was set back ends it."""
        return now < self.free_at <= now + SPACING

    def take(self) -> WaitingAnnouncement | list[WaitingChange]:
        """Whether to trust what is shown comes first; many alerts and many changes take turns."""
        if self.stale:
            return self.stale.popleft()
        if self.alerts and (self.alert_is_next or not self.changes):
            self.alert_is_next = False
            return self.alerts.popleft()
        self.alert_is_next = True
        changes, self.changes = list(self.changes.values()), {}
        return changes


class Outbox:
    """Holds entries until their region may be sent to again. Times in ms."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}
        self._copies: dict[tuple[str, str], int] = {}

    def add_change(self, region_id: str, change: FacilityChange, entry: Entry) -> Entry | None:
        """Keeps a change if it is newer than the one that waits for its facility.

        Returns the entry that is superseded by that, whichever it is: it need not be sent any more.
        """
        changes = self._region(region_id).changes
        held = changes.get(change.facility_id)
        if held is not None and held.change.version >= change.version:
            return entry
        changes[change.facility_id] = WaitingChange(change, entry)
        return None if held is None else held.entry

    def add_announcement(self, region_ids: Iterable[str], announcement: Announcement, entry: Entry) -> int:
        """Keeps an announcement for each of these regions; returns how many those are."""
        copies = 0
        for region_id in region_ids:
            region = self._region(region_id)
            queue = region.stale if isinstance(announcement, StaleEntry) else region.alerts
            queue.append(WaitingAnnouncement(announcement, entry))
            copies += 1
        self._copies[entry.stream, entry.entry_id] = copies
        return copies

    def take_due(self, now: int) -> list[Batch]:
        """Returns what may be sent now, at most one batch a region, which then rests for `SPACING`."""
        batches = []
        for region_id, region in self._regions.items():
            if region.rests(now) or not region.waiting:
                continue
            region.free_at = now + SPACING
            batches.append(Batch(region_id, region.take()))
        return batches

    def sent(self, waiting: WaitingAnnouncement) -> bool:
        """Counts one region as told; returns whether that was the last that waited for this announcement."""
        key = waiting.entry.stream, waiting.entry.entry_id
        self._copies[key] -= 1
        return not self._copies[key]

    def next_due(self, now: int) -> int | None:
        """Returns the ms until something can be sent or a region's rest is over; None when nothing is open."""
        rests = [
            region.free_at - now if region.rests(now) else 0
            for region in self._regions.values()
            if region.waiting or region.rests(now)
        ]
        return min(rests, default=None)

    def _region(self, region_id: str) -> _Region:
        return self._regions.setdefault(region_id, _Region())
