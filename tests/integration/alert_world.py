"""What the tests of alerts share: facilities that come and go at moments that a test names."""

from redis.asyncio import Redis

from shared.alerts.alerts import Alerts, AlertTiming
from shared.alerts.webhook import Webhook
from shared.domain.directory import County, Directory, Facility, Region
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import SessionTiming
from shared.registry import keys
from shared.registry.directory_cache import DirectoryCache, DirectoryPublisher
from shared.registry.registry import Registry
from tests.redis_server import stream_rows

T = 1_795_000_000_000
TTL, AFTER, COOLDOWN = 10_000, 30_000, 600_000
Alert = tuple[str, str, int]
"""(facility, state, since - T)"""


class World:
    """Facilities f-0…f-9 of region r-1; times are ms after T."""

    def __init__(self, redis: Redis, webhook: Webhook | None = None, cooldown: int = COOLDOWN) -> None:
        self.redis = redis
        self.registry = Registry(redis, SessionTiming(TTL, 5_000))
        self.alerts = Alerts(redis, DirectoryCache(redis), AlertTiming(AFTER, cooldown), webhook)

    async def publish(self, *, facilities: int = 10) -> None:
        """Puts a directory in force."""
        directory = Directory(
            {"r-1": Region("r-1", "")},
            {"c-1": County("c-1", "r-1", "")},
            {f"f-{n}": Facility(f"f-{n}", "c-1", "") for n in range(facilities)},
        )
        await DirectoryPublisher(self.redis, DirectoryCache(self.redis)).publish(directory, str(facilities))

    async def heard(self, facility: str, at: int) -> None:
        """A heartbeat, which is the only one for a TTL."""
        await self.registry.ingest([(facility, Heartbeat("u-1", "s-1", T + at, leaving=False))])

    async def swept(self, at: int) -> None:
        """The sweep up to a moment, without its alerts."""
        for partition in keys.ALL_PARTITIONS:
            await self.registry.sweep(partition, T + at)

    async def announce(self, at: int) -> list[Alert]:
        """Sweeps, announces, and returns the alerts that this appended."""
        await self.swept(at)
        before = await self.alerted()
        count = await self.alerts.announce(T + at)
        new = [alert for alert in await self.alerted() if alert not in before]
        assert count == len(new)
        return new

    async def alerted(self) -> list[Alert]:
        """All alerts appended so far; no two are alike."""
        rows = [row for partition in keys.ALL_PARTITIONS for row in await stream_rows(self.redis, partition.changes)]
        alerts = [row for row in rows if row["kind"] == "alert"]
        return [(row["facility"], row["state"], int(row["since"]) - T) for row in alerts]
