"""The directory as every process sees it: published to Redis in generations, cached by generation."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched
from zlib import crc32

from redis.asyncio import Redis

from shared.domain.directory import County, Directory, Region
from shared.errors import DirectoryMissingError
from shared.registry import keys
from shared.registry.client import redis_errors, text

_CACHED_USERS = 200_000
_CHUNK = 5_000
_OLD_GENERATION_SECONDS = 60
"""How long readers that have just seen a generation may still read it."""
_UNFINISHED_SECONDS = 3600
"""How long a generation is kept that is not in force yet; its writer may have died."""
_HASHES = (keys.directory_regions, keys.directory_counties, keys.directory_facilities, keys.directory_users)


@dataclass(frozen=True, slots=True)
class FacilityEntry:
    """A facility with where it belongs."""

    facility_id: str
    name: str
    county_id: str
    region_id: str


@dataclass(frozen=True)
class DirectoryView:
    """Regions, counties and facilities of one generation."""

    generation: int
    regions: Mapping[str, Region]
    counties: Mapping[str, County]
    facilities: Mapping[str, FacilityEntry]
    _by_region: dict[str, list[FacilityEntry]] = field(init=False, default_factory=dict)
    _by_checksum: dict[int, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.facilities.values():
            self._by_region.setdefault(entry.region_id, []).append(entry)
            self._by_checksum[crc32(entry.facility_id.encode())] = entry.facility_id

    def facility(self, facility_id: str) -> FacilityEntry | None:
        """Returns the facility, or None for an unknown one."""
        return self.facilities.get(facility_id)

    def facility_of_checksum(self, checksum: int) -> str | None:
        """Returns the id of the facility with this CRC-32, "" for that of no facility, or None for an unknown one."""
        return self._by_checksum.get(checksum) if checksum else ""

    def facilities_in(self, region_id: str) -> Sequence[FacilityEntry]:
        """Returns the facilities of a region, in the directory's order."""
        return self._by_region.get(region_id, [])

    def counties_in(self, region_id: str) -> list[tuple[County, int]]:
        """Returns the counties of a region by their ids, each with the number of its facilities."""
        sizes = Counter(entry.county_id for entry in self.facilities_in(region_id))
        found = [county for county in self.counties.values() if county.region_id == region_id]
        return [(county, sizes[county.county_id]) for county in sorted(found, key=lambda county: county.county_id)]


class DirectoryCache:
    """Reads the newest generation; raises DependencyUnavailableError("redis") or DirectoryMissingError."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._view: DirectoryView | None = None
        self._users: dict[str, tuple[str, ...]] = {}

    async def view(self) -> DirectoryView:
        """Returns regions, counties and facilities as of the newest generation."""
        with redis_errors():
            raw = await self._client.get(keys.DIRECTORY_GENERATION)
        if raw is None:
            raise DirectoryMissingError
        generation = int(raw)
        if self._view is None or self._view.generation != generation:
            self._view = await self._read(generation)
            self._users = {}
        return self._view

    async def facilities_of(self, user_ids: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Returns each user's facilities, empty for a user the directory does not know."""
        generation = (await self.view()).generation
        users = self._users
        missing = [user_id for user_id in user_ids if user_id not in users]
        if missing:
            with redis_errors():
                rows = await self._client.hmget(keys.directory_users(generation), missing)
            if len(users) + len(missing) > _CACHED_USERS:
                users = self._users = {}
                missing, rows = list(user_ids), []
                with redis_errors():
                    rows = await self._client.hmget(keys.directory_users(generation), missing)
            for user_id, row in zip(missing, rows, strict=True):
                users[user_id] = tuple(json.loads(row)[1:]) if row else ()
        return {user_id: users[user_id] for user_id in user_ids}

    async def names_of(self, user_ids: Sequence[str]) -> Mapping[str, str]:
        """Returns the names of those users whom the directory knows."""
        if not user_ids:
            return {}
        generation = (await self.view()).generation
        with redis_errors():
            rows = await self._client.hmget(keys.directory_users(generation), list(user_ids))
        return {user_id: json.loads(row)[0] for user_id, row in zip(user_ids, rows, strict=True) if row}

    async def regions_of(self, user_id: str) -> frozenset[str]:
        """Returns the regions of a user's facilities."""
        view = await self.view()
        found = await self.facilities_of([user_id])
        return frozenset(entry.region_id for entry in map(view.facility, found[user_id]) if entry is not None)

    async def departed(self, checksums: Collection[int]) -> set[str]:
        """Returns the facilities with these CRC-32s that were ever heard of, whether in the directory or not."""
        partitions = {keys.ALL_PARTITIONS[checksum % keys.PARTITIONS] for checksum in checksums}
        found: set[str] = set()
        with redis_errors():
            for partition in partitions:
                names = map(text, await self._client.hkeys(partition.facilities))
                found |= {name for name in names if name and crc32(name.encode()) in checksums}
        return found

    async def _read(self, generation: int) -> DirectoryView:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(keys.directory_regions(generation))
            pipe.hgetall(keys.directory_counties(generation))
            pipe.hgetall(keys.directory_facilities(generation))
            regions, counties, facilities = await pipe.execute()
        return DirectoryView(
            generation,
            {key.decode(): Region(key.decode(), name.decode()) for key, name in regions.items()},
            {key.decode(): County(key.decode(), *json.loads(row)) for key, row in counties.items()},
            {key.decode(): _entry(key.decode(), row) for key, row in facilities.items()},
        )


@dataclass(frozen=True, slots=True)
class Departure:
    """A facility that is gone from a region; `moved`: it is in another one now.

    Without a region ("") it was in none: it is new, or has returned.
    """

    facility_id: str
    region_id: str
    moved: bool


class DirectoryPublisher:
    """Writes generations. Raises DependencyUnavailableError("redis")."""

    def __init__(self, client: Redis, cache: DirectoryCache) -> None:
        self._client = client
        self._cache = cache

    async def fingerprint(self) -> str | None:
        """Returns the fingerprint of the published directory; None when none is published."""
        with redis_errors():
            published = await self._client.get(keys.DIRECTORY_GENERATION)
            value = await self._client.get(keys.DIRECTORY_FINGERPRINT)
        return text(value) if published is not None and value is not None else None

    async def discard_torn(self) -> None:
        """Takes a directory out of force of which a part is gone, so that it counts as never published.

        Its parts may lie on different nodes. One whose table is empty counts as torn, too, and is published again.
        """
        with redis_errors():
            generation = await self._client.get(keys.DIRECTORY_GENERATION)
            if generation is None:
                return
            pipe = self._client.pipeline(transaction=False)
            for key in _HASHES:
                pipe.exists(key(int(generation)))
            if not all(await pipe.execute()):
                await self._client.delete(keys.DIRECTORY_GENERATION)

    async def departures(self) -> list[Departure]:
        """Returns the facilities that left or found a region by the directory in force and are not announced yet."""
        with redis_errors():
            noted = await self._client.get(keys.DEPARTURES)
            generation = await self._client.get(keys.DIRECTORY_GENERATION)
        if generation is None or noted is None:
            return []
        of_generation, rows = json.loads(noted)
        # Otherwise whoever noted them died before putting their directory in force.
        return [Departure(*row) for row in rows] if of_generation == int(generation) else []

    async def departed(self) -> None:
        """Takes note that they are announced."""
        with redis_errors():
            await self._client.delete(keys.DEPARTURES)

    async def publish(self, directory: Directory, fingerprint: str) -> None:
        """Puts a directory in force for every process; `departures` tells the facilities that moved by it.

        Those, and users who left or joined regions, are written down before the directory is in force: what a crash
        repeats is harmless, what it forgot would stay untold.
        """
        before: Mapping[str, FacilityEntry] = {}
        try:
            view = await self._cache.view()
        except DirectoryMissingError:
            pass
        else:
            before = view.facilities
            await self._note_moves(view, directory)
        with redis_errors():
            generation = await self._next_generation()
            await self._write(
                keys.directory_regions(generation), {r.region_id: r.name for r in directory.regions.values()}
            )
            await self._write(keys.directory_counties(generation), _county_rows(directory))
            await self._write(keys.directory_facilities(generation), _facility_rows(directory))
            await self._write(keys.directory_users(generation), _user_rows(directory))
            if departures := _departures(before, directory):
                rows = [[each.facility_id, each.region_id, each.moved] for each in departures]
                await self._client.set(keys.DEPARTURES, json.dumps([generation, rows]))
            # Before the switch: what is in force must never be on its way out.
            pipe = self._client.pipeline(transaction=False)
            for key in _HASHES:
                pipe.persist(key(generation))
            await pipe.execute()
            # One command switches every process over; what it replaces stays readable for those in the middle.
            old = await self._client.set(keys.DIRECTORY_GENERATION, generation, get=True)
            await self._client.set(keys.DIRECTORY_FINGERPRINT, fingerprint)
            if old is not None:
                pipe = self._client.pipeline(transaction=False)
                for key in _HASHES:
                    pipe.expire(key(int(old)), _OLD_GENERATION_SECONDS)
                await pipe.execute()

    async def _next_generation(self) -> int:
        counter = f"{keys.DIRECTORY_GENERATION}:next"
        generation = int(await self._client.incr(counter))
        if generation == 1:
            # A first number, or the data was lost: time in ms is ahead of any that readers may still have cached.
            seconds, microseconds = await self._client.time()
            generation = int(await self._client.incrby(counter, seconds * 1000 + microseconds // 1000))
        return generation

    async def _note_moves(self, before: DirectoryView, after: Directory) -> None:
        unseen = set(after.facilities_of_user)
        moves: list[tuple[str, set[str], set[str]]] = []
        with redis_errors():
            rows = self._client.hscan_iter(keys.directory_users(before.generation), count=_CHUNK)
            async for raw_user_id, row in rows:
                user_id = text(raw_user_id)
                unseen.discard(user_id)
                was = {entry.region_id for entry in map(before.facility, json.loads(row)[1:]) if entry is not None}
                now = _regions(after, user_id)
                if was != now:
                    moves.append((user_id, was - now, now - was))
            moves += [(user_id, set(), _regions(after, user_id)) for user_id in unseen]
            for chunk in batched(moves, _CHUNK, strict=False):
                pipe = self._client.pipeline(transaction=False)
                for user_id, left, joined in chunk:
                    gone, new = "/".join(sorted(left)), "/".join(sorted(joined))
                    pipe.xadd(keys.REGION_MOVES, {"user": user_id, "left": gone, "joined": new})
                await pipe.execute()

    async def _write(self, key: str, rows: Mapping[str, str]) -> None:
        items = list(rows.items())
        for start in range(0, len(items), _CHUNK):
            pipe = self._client.pipeline(transaction=False)
            pipe.hset(key, mapping=dict(items[start : start + _CHUNK]))
            pipe.expire(key, _UNFINISHED_SECONDS)
            await pipe.execute()


def _departures(before: Mapping[str, FacilityEntry], after: Directory) -> list[Departure]:
    gone = [
        Departure(entry.facility_id, entry.region_id, moved=region_id is not None)
        for entry in before.values()
        if (region_id := after.region_of(entry.facility_id)) != entry.region_id
    ]
    # Nothing is known to have been absent where no directory was in force.
    found = after.facilities.keys() - before.keys() if before else ()
    return gone + [Departure(facility_id, "", moved=True) for facility_id in sorted(found)]


def _entry(facility_id: str, row: bytes) -> FacilityEntry:
    county_id, region_id, name = json.loads(row)
    return FacilityEntry(facility_id, name, county_id, region_id)


def _regions(directory: Directory, user_id: str) -> set[str]:
    facilities = directory.facilities_of_user.get(user_id, ())
    return {region_id for region_id in map(directory.region_of, facilities) if region_id is not None}


def _county_rows(directory: Directory) -> dict[str, str]:
    return {
        county.county_id: json.dumps([county.region_id, county.name], ensure_ascii=False)
        for county in directory.counties.values()
    }


def _facility_rows(directory: Directory) -> dict[str, str]:
    return {
        facility.facility_id: json.dumps(
            [facility.county_id, directory.counties[facility.county_id].region_id, facility.name], ensure_ascii=False
        )
        for facility in directory.facilities.values()
    }


def _user_rows(directory: Directory) -> dict[str, str]:
    members = directory.facilities_of_user
    return {
        user_id: json.dumps([name, *members.get(user_id, ())], ensure_ascii=False)
        for user_id, name in directory.users.items()
    }
