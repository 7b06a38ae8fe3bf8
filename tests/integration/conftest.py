"""What integration tests share: one real Redis-protocol server per session, emptied for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.integration.pipeline_world import World, make_world
from tests.integration.store_databases import SERVER
from tests.redis_server import running_redis

# What only a server can do is not collected without one; the header below says how to run it.
collect_ignore = [] if SERVER else ["test_store_sqlserver.py"]


def pytest_report_header() -> str:
    """Returns which databases the store tests run on."""
    return "stores: SQLite and SQL Server" if SERVER else "stores: SQLite (SQL Server: make test-sqlserver)"


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running_redis(directory) as port:
        yield port


@pytest.fixture
async def redis(redis_port: int) -> AsyncIterator[Redis]:
    client = Redis(port=redis_port)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def world(redis: Redis, tmp_path: Path) -> AsyncIterator[World]:
    """The pipeline in one process, its directory in force."""
    world = make_world(redis, tmp_path)
    await world.load_directory()
    yield world
    await world.close()
