"""What tests of the streams share: lives that leave entries in them, entries by hand, and what SQL has of them."""

from collections.abc import Sequence
from typing import Any

from shared.registry import keys
from tests.integration.pipeline_world import GRACE, World

STALE_PERIODS = "SELECT started_at, ended_at FROM stale_periods ORDER BY started_at"


def versions(world: World, facility: str) -> list[int]:
    rows = world.monitor_rows(
        f"SELECT version FROM facility_status_history WHERE facility_id = '{facility}' ORDER BY 1"
    )
    return [version for (version,) in rows]


async def lives(world: World, users: Sequence[str], count: int = 1) -> None:
    """Each user comes and leaves, `count` times."""
    for _ in range(count):
        for user in users:
            await world.beat(user)
        await world.sweep_after(1_000)
        for user in users:
            await world.beat(user, leaving=True)
        await world.sweep_after(GRACE + 1_000)
        await world.sweep_after(GRACE + 1_000)


def database(store: Any) -> Any:
    """The database behind a store."""
    return store._database


def a_change(world: World, version: int) -> dict[Any, Any]:
    fields: dict[Any, Any] = {"kind": "status", "facility": "f-1", "status": "online", "since": world.time}
    return fields | {"version": version, "sessions": 1, "reason": "heartbeat"}


async def append(world: World, fields: dict[str, str]) -> None:
    await world.redis.xadd(keys.partition_of("f-1").changes, a_change(world, 1) | fields)


async def announce(world: World, **fields: int) -> None:
    whole: dict[Any, Any] = {"kind": "stale", **fields}
    await world.redis.xadd(keys.CONTROL_STREAM, whole)


async def pending(world: World, group: str) -> int:
    streams = [partition.changes for partition in keys.ALL_PARTITIONS]
    return sum([(await world.redis.xpending(stream, group))["pending"] for stream in streams])
