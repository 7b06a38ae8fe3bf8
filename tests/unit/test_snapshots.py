"""The snapshot cache: built once for all who ask, and never older than its number claims."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.broadcast.snapshots import SnapshotCache
from shared.domain.directory import Region
from shared.domain.facility import FacilityState
from shared.domain.pipeline import PipelineState
from shared.errors import DependencyUnavailableError
from shared.registry.directory_cache import DirectoryView, FacilityEntry
from shared.registry.registry import Registry
from shared.registry.watermarks import Watermarks

VIEW = DirectoryView(1, {"r-1": Region("r-1", "R")}, {}, {"f-1": FacilityEntry("f-1", "F", "c-1", "r-1")})


class SlowRegistry(Registry):
    """Answers when `ready` is set; notes what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ready = asyncio.Event()
        self.failure: Exception | None = None
        self.sequence = 3

    async def region_sequences(self, region_ids: Sequence[str]) -> dict[str, int]:
        self.asked.append("sequence")
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        return dict.fromkeys(region_ids, self.sequence)

    async def facility_states(self, facility_ids: Sequence[str]) -> list[FacilityState]:
        self.asked.append("states")
        return [FacilityState(facility_id) for facility_id in facility_ids]


class Calm(Watermarks):
    """Says that nothing is stale."""

    def __init__(self) -> None:
        pass

    async def load(self) -> PipelineState:
        return PipelineState()


@pytest.fixture
def registry() -> SlowRegistry:
    return SlowRegistry()


@pytest.fixture
def cache(registry: SlowRegistry) -> SnapshotCache:
    async def nothing_is_lost() -> None:
        registry.asked.append("whole")

    return SnapshotCache(registry, Calm(), lambda: 1_795_000_000_000, nothing_is_lost)


async def test_many_who_ask_at_once_are_answered_by_one_build(registry: SlowRegistry, cache: SnapshotCache) -> None:
    asking = [asyncio.create_task(cache.get(VIEW, "r-1")) for _ in range(20)]
    await asyncio.sleep(0)
    registry.ready.set()
    assert len({id(snapshot) for snapshot in await asyncio.gather(*asking)}) == 1
    assert registry.asked == ["whole", "sequence", "states"]


async def test_one_who_goes_away_does_not_take_the_build_along(registry: SlowRegistry, cache: SnapshotCache) -> None:
    first, second = (asyncio.create_task(cache.get(VIEW, "r-1")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    registry.ready.set()
    assert (await second).facilities == 1
    assert registry.asked == ["whole", "sequence", "states"]


async def test_a_failed_build_is_told_to_all_and_tried_anew(registry: SlowRegistry, cache: SnapshotCache) -> None:
    registry.ready.set()
    registry.failure = DependencyUnavailableError("redis")
    outcomes = await asyncio.gather(*(cache.get(VIEW, "r-1") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, DependencyUnavailableError) for outcome in outcomes)
    registry.failure = None
    assert (await cache.get(VIEW, "r-1")).online == 0


async def test_one_is_kept_until_its_region_is_told_something_new(registry: SlowRegistry, cache: SnapshotCache) -> None:
    registry.ready.set()
    first = await cache.get(VIEW, "r-1")
    assert await cache.get(VIEW, "r-1") is first
    registry.sequence = 4
    assert b'"sequence":4' in (await cache.get(VIEW, "r-1")).body


async def test_a_snapshot_of_a_clock_that_was_set_back_is_built_anew(registry: SlowRegistry) -> None:
    async def nothing_is_lost() -> None:
        pass

    times = [1_795_000_000_000]
    cache = SnapshotCache(registry, Calm(), lambda: times[-1], nothing_is_lost)
    registry.ready.set()
    before = await cache.get(VIEW, "r-1")
    assert await cache.get(VIEW, "r-1") is before
    times.append(times[0] - 3_600_000)
    assert (await cache.get(VIEW, "r-1")).as_of == times[1]
