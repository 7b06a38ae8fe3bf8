"""What a region looks like now, read and serialised once a second for however many browsers ask."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from shared.domain.facility import FacilityState, FacilityStatus
from shared.domain.instants import to_iso, to_iso_or_none
from shared.entity_tags import entity_tag
from shared.registry.directory_cache import DirectoryView, FacilityEntry
from shared.registry.registry import Registry
from shared.registry.watermarks import Watermarks

MAX_AGE_MS = 1_000
_GZIP_LEVEL = 5
_WORTH_COMPRESSING = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A region at `as_of` (ms), ready to be sent. `compressed` is the gzip form, None if too small to bother."""

    generation: int
    as_of: int
    sequence: int
    facilities: int
    online: int
    etag: str
    body: bytes
    compressed: bytes | None


class SnapshotCache:
    """Keeps each region's snapshot for at most a second; never builds one twice at the same time.

    `ensure` returns when the data to read is whole.
    """

    def __init__(
        self,
        registry: Registry,
        watermarks: Watermarks,
        now: Callable[[], int],
        ensure: Callable[[], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._watermarks = watermarks
        self._ensure = ensure
        self._now = now
        self._held: dict[str, Snapshot] = {}
        self._builds: dict[tuple[str, int], asyncio.Task[Snapshot]] = {}

    async def get(self, view: DirectoryView, region_id: str) -> Snapshot:
        """Returns a region's snapshot by this directory, at most a second old and no older than its newest message.

        Raises DependencyUnavailableError("redis").
        """
        held = self._held.get(region_id)
        # One from the future is of a clock that has been set back since.
        if held is not None and held.generation == view.generation and 0 <= self._now() - held.as_of < MAX_AGE_MS:
            # Who has just been told of a change must not be shown what was before.
            newest = await self._registry.region_sequences([region_id])
            if newest[region_id] <= held.sequence:
                return held
        key = region_id, view.generation
        build = self._builds.get(key)
        if build is None:
            build = self._builds[key] = asyncio.create_task(self._build(view, region_id))
            build.add_done_callback(lambda _: self._builds.pop(key))
        # Shielded: others wait for the same snapshot when this caller goes away.
        return await asyncio.shield(build)

    async def _build(self, view: DirectoryView, region_id: str) -> Snapshot:
        # Data that Redis has just lost must not look like facilities that went offline.
        await self._ensure()
        as_of = self._now()
        entries = view.facilities_in(region_id)
        # The number comes before the states, so that these hold every change of the messages up to that number.
        sequence = (await self._registry.region_sequences([region_id]))[region_id]
        stale = (await self._watermarks.load()).stale
        states = await self._registry.facility_states([entry.facility_id for entry in entries])
        items = [facility_item(entry, state) for entry, state in zip(entries, states, strict=True)]
        content = {"sequence": sequence, "stale": stale, "facilities": items}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        body = f'{{"regionId":"{region_id}","asOf":"{to_iso(as_of)}",{text[1:]}'.encode()
        snapshot = Snapshot(
            generation=view.generation,
            as_of=as_of,
            sequence=sequence,
            facilities=len(states),
            online=sum(state.status == FacilityStatus.ONLINE for state in states),
            # Leaves `asOf` out, as a weak one may: snapshots that differ in nothing else are the same to a browser.
            etag=entity_tag(text.encode()),
            body=body,
            compressed=await asyncio.to_thread(_compress, body) if len(body) >= _WORTH_COMPRESSING else None,
        )
        self._held[region_id] = snapshot
        return snapshot


def facility_item(entry: FacilityEntry, state: FacilityState) -> dict[str, Any]:
    """Returns a facility as the API shows it."""
    return {
        "facilityId": entry.facility_id,
        "name": entry.name,
        "countyId": entry.county_id,
        "status": state.status,
        "since": to_iso_or_none(state.since),
        "sessions": state.sessions,
        # One that was never online may have a number from leaving a region (see `lua/depart.lua`).
        "version": 0 if state.since is None else state.version,
        "reason": state.reason,
        "lastSeen": to_iso_or_none(state.last_seen),
    }


def _compress(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)
