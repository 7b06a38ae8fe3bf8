"""The product's own parts on a Redis-protocol server of the benchmark's, without the services around it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from redis.asyncio import Redis

from shared.bootstrap import Services
from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.heartbeat import Heartbeat
from shared.domain.pipeline import PipelineState
from shared.registry import keys
from shared.registry.directory_cache import DirectoryPublisher
from shared.registry.progress import Progress
from shared.settings import Settings

PER_FACILITY = 20


def now() -> int:
    """Returns the time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class SilentPush:
    """Takes what would go to browsers."""

    async def send_to_group(self, group: str, message: object) -> None:
        """Does nothing."""

    async def send_to_user(self, user_id: str, message: object) -> None:
        """Does nothing."""


def services(client: Redis, folder: Path) -> Services:
    """Returns the product on this server: databases in `folder`, no Event Hubs, and nobody at a browser."""
    connection = client.connection_pool.connection_kwargs
    settings = Settings.from_environment(
        {
            "Redis": f"127.0.0.1:{connection['port']}",
            "EventHubConnection": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=aw==;"
            "UseDevelopmentEmulator=true;",
            "WebPubSub": "Endpoint=http://127.0.0.1:1;AccessKey=aw==;Version=1.0;",
            "SqlMonitor": f"sqlite:///{folder}/monitor.db",
            "SqlCore": f"sqlite:///{folder}/core.db",
            "AUTH_ISSUER": "http://127.0.0.1:1",
            "AUTH_AUDIENCE": "bench",
            "AUTH_CLIENT_ID": "bench",
        }
    )
    up = Services(settings)
    up.__dict__["push"] = SilentPush()  # in the place of the cached property
    return up


async def follow_agents(up: Services) -> None:
    """Has what sessions began and ended taken over into the agents; the news of it counts as sent."""
    await up.agent_follower.errand.run()
    await up.agent_announcer.close()
    for partition in keys.ALL_USER_PARTITIONS:
        await up.redis.delete(partition.urgent, partition.traffic)


async def begin(up: Services, directory: Directory) -> None:
    """Puts Redis into the state of a product that runs: an epoch, a directory, a watermark, and a sweep just now.

    Watermark and sweep are said to be in the future, so that no ingest finds a stall or starts a sweep by itself.
    """
    ahead = now() + 86_400_000
    await Progress(up.redis).begin(now())
    await DirectoryPublisher(up.redis, up.directory).publish(directory, "bench")
    await up.watermarks.save(PipelineState(watermark=ahead), ahead, before=None)


def directory_of(users: Sequence[tuple[str, str]]) -> Directory:
    """Returns a directory of one region in which each (user, facility) belongs together."""
    members: dict[str, tuple[str, ...]] = {}
    for user, facility in users:
        members[user] = (*members.get(user, ()), facility)
    facilities = dict.fromkeys(facility for _, facility in users)
    return Directory(
        regions={"r-1": Region("r-1", "Region")},
        counties={"c-1": County("c-1", "r-1", "County")},
        facilities={each: Facility(each, "c-1", each) for each in facilities},
        users={user: user for user in members},
        facilities_of_user=members,
    )


def people(count: int, per_facility: int = PER_FACILITY) -> Iterator[tuple[str, str, str]]:
    """Yields (12-byte user, 16-byte session, facility), so many at each facility."""
    for number in range(count):
        yield f"user-{number:07d}", f"s-{number:014d}", f"f-{number // per_facility:05d}"


def beats(sessions: Iterable[tuple[str, str, str]], at: int) -> list[tuple[str, Heartbeat]]:
    """Returns a heartbeat of each session at its facility, received at `at`."""
    return [(facility, Heartbeat(user, session, at)) for user, session, facility in sessions]
