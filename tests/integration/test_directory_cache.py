"""The directory in Redis: generations, users read on demand, departures."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from redis.asyncio import Redis

from shared.domain.directory import County, Directory, Facility, Region
from shared.errors import DependencyUnavailableError, DirectoryMissingError
from shared.registry import keys
from shared.registry.client import text
from shared.registry.directory_cache import Departure, DirectoryCache, DirectoryPublisher


def directory(facilities: dict[str, str], users: dict[str, tuple[str, ...]]) -> Directory:
    """`facilities` maps a facility to its county; county c-N lies in region r-N."""
    counties = sorted(set(facilities.values()))
    return Directory(
        regions={f"r-{c[2:]}": Region(f"r-{c[2:]}", f"Région {c[2:]}") for c in counties},
        counties={c: County(c, f"r-{c[2:]}", c) for c in counties},
        facilities={f: Facility(f, c, f"Facility {f}") for f, c in facilities.items()},
        users={user: user.upper() for user in users},
        facilities_of_user=users,
    )


FIRST = directory({"f-1": "c-1", "f-2": "c-1", "f-3": "c-2"}, {"u-1": ("f-1",), "u-2": ("f-1", "f-3")})

PARTS = {"regions", "counties", "facilities", "users"}


async def test_without_a_directory_nobody_is_taken_for_unassigned(redis: Redis) -> None:
    with pytest.raises(DirectoryMissingError):
        await DirectoryCache(redis).facilities_of(["u-1"])


async def test_what_is_published_is_in_force_for_every_process(redis: Redis) -> None:
    reader = DirectoryCache(redis)
    await DirectoryPublisher(redis, DirectoryCache(redis)).publish(FIRST, "1")
    view = await reader.view()
    assert view.regions["r-1"].name == "Région 1"
    assert [entry.facility_id for entry in view.facilities_in("r-1")] == ["f-1", "f-2"]
    assert view.counties_in("r-1") == [(County("c-1", "r-1", "c-1"), 2)]
    assert view.counties_in("r-404") == []
    assert await reader.facilities_of(["u-1", "u-2", "nobody"]) == {
        "u-1": ("f-1",),
        "u-2": ("f-1", "f-3"),
        "nobody": (),
    }
    assert await reader.regions_of("u-2") == {"r-1", "r-2"}


async def test_a_new_generation_replaces_what_readers_had_cached(redis: Redis) -> None:
    reader, publisher = DirectoryCache(redis), DirectoryPublisher(redis, DirectoryCache(redis))
    await publisher.publish(FIRST, "1")
    await reader.facilities_of(["u-1"])
    await publisher.publish(directory({"f-1": "c-1", "f-9": "c-1"}, {"u-1": ("f-9",)}), "2")
    assert await reader.facilities_of(["u-1", "u-2"]) == {"u-1": ("f-9",), "u-2": ()}
    assert await publisher.fingerprint() == "2"


async def test_a_publication_that_fails_midway_leaves_nothing_for_good(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = DirectoryPublisher(redis, DirectoryCache(redis))
    await publisher.publish(FIRST, "1")
    write: Callable[[str, Mapping[str, str]], Awaitable[None]] = publisher._write

    async def write_half(key: str, rows: Mapping[str, str]) -> None:
        await write(key, dict(list(rows.items())[:1]))
        if key.endswith(":users"):
            raise DependencyUnavailableError("redis", "gone in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_write", write_half)
        with pytest.raises(DependencyUnavailableError):
            await publisher.publish(FIRST, "2")
    in_force = f"directory:{int(await redis.get(keys.DIRECTORY_GENERATION) or 0)}:"
    left = {text(key): await redis.ttl(key) for key in await redis.keys("directory:*:*")}
    data = {key: ttl for key, ttl in left.items() if key.rpartition(":")[2] in PARTS}
    assert len(data) == 2 * len(PARTS)
    for key, ttl in data.items():
        assert ttl == -1 if key.startswith(in_force) else 0 < ttl <= 3600, key


async def test_after_a_loss_of_redis_data_no_generation_is_used_twice(redis: Redis) -> None:
    """Readers keep what they have cached by generation, and may not have looked while there was none."""
    reader, publisher = DirectoryCache(redis), DirectoryPublisher(redis, DirectoryCache(redis))
    await publisher.publish(FIRST, "1")
    assert await reader.facilities_of(["u-1"]) == {"u-1": ("f-1",)}
    await redis.flushall()
    await publisher.publish(directory({"f-1": "c-1", "f-9": "c-1"}, {"u-1": ("f-9",)}), "2")
    assert await reader.facilities_of(["u-1"]) == {"u-1": ("f-9",)}
    assert (await reader.view()).facility("f-9") is not None


async def test_facilities_that_leave_a_region_are_reported(redis: Redis) -> None:
    publisher = DirectoryPublisher(redis, DirectoryCache(redis))
    await publisher.publish(FIRST, "1")
    assert await publisher.departures() == []
    after = directory({"f-1": "c-2", "f-2": "c-1"}, {})
    await publisher.publish(after, "2")
    assert sorted(await publisher.departures(), key=lambda d: d.facility_id) == [
        Departure("f-1", "r-1", moved=True),
        Departure("f-3", "r-2", moved=False),
    ]


async def test_facilities_that_come_from_no_region_are_reported_unless_no_directory_was_known(redis: Redis) -> None:
    publisher = DirectoryPublisher(redis, DirectoryCache(redis))
    fewer = directory({"f-1": "c-1", "f-3": "c-2"}, {})
    await publisher.publish(fewer, "1")
    assert await publisher.departures() == []
    await publisher.publish(FIRST, "2")
    assert await publisher.departures() == [Departure("f-2", "", moved=True)]
    await publisher.departed()
    assert await publisher.departures() == []


async def test_departures_of_a_directory_that_is_not_in_force_are_not_told(redis: Redis) -> None:
    publisher = DirectoryPublisher(redis, DirectoryCache(redis))
    await publisher.publish(FIRST, "1")
    await redis.set(keys.DEPARTURES, '[7, [["f-1", "r-1", false]]]')
    assert await publisher.departures() == []


async def test_an_old_generation_goes_away_by_itself(redis: Redis) -> None:
    cache = DirectoryCache(redis)
    publisher = DirectoryPublisher(redis, cache)
    await publisher.publish(FIRST, "1")
    old = (await cache.view()).generation
    await publisher.publish(FIRST, "2")
    for key in (keys.directory_regions, keys.directory_counties, keys.directory_facilities, keys.directory_users):
        assert 0 < await redis.ttl(key(old)) <= 60
    assert await redis.ttl(keys.directory_users((await cache.view()).generation)) == -1
