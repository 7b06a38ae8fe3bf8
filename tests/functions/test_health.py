"""`GET /health`."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from functions.health import health
from shared import health as health_module
from shared.domain.pipeline import PipelineState
from shared.errors import DependencyUnavailableError
from shared.health import HealthCheck
from shared.registry.registry import Registry
from shared.registry.watermarks import Watermarks
from shared.store.threads import StoreThread
from tests.functions.conftest import NOW, World, call


class Pinged:
    """A service that answers its ping, fails it, or hangs."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.hangs: asyncio.Event | None = None

    async def ping(self) -> None:
        self.asked += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.failure is not None:
            raise self.failure


class Database:
    """The same, blocking as stores do."""

    def __init__(self) -> None:
        self.thread = StoreThread()
        self.asked = 0
        self.failure: Exception | None = None
        self.hangs: threading.Event | None = None

    def ping(self) -> None:
        self.asked += 1
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def hub(world: World) -> Pinged:
    return Pinged()


@pytest.fixture
def sockets(world: World) -> Pinged:
    return Pinged()


@pytest.fixture
def sql(world: World) -> Iterator[Database]:
    database = Database()
    yield database
    database.thread.close()


@pytest.fixture
def core(world: World) -> Iterator[Database]:
    database = Database()
    yield database
    database.thread.close()


@pytest.fixture(autouse=True)
def check(world: World, hub: Pinged, sockets: Pinged, sql: Database, core: Database) -> None:
    world.health = HealthCheck(world.registry, world.watermarks, hub, sql, core, sockets, world.now)


async def test_all_is_well(world: World) -> None:
    await world.watermarks.save(PipelineState(watermark=NOW - 1_234), NOW, before=None)
    answer = await call(health, token=None)
    assert (answer.status, answer.body) == (
        200,
        {
            "status": "ok",
            "checks": {"redis": True, "eventHubs": True, "sql": True, "webPubSub": True},
            "pipelineLagSeconds": 1.234,
            "stale": False,
        },
    )


async def test_a_stalled_pipeline_alone_leaves_it_at_200(world: World) -> None:
    await world.watermarks.save(PipelineState(watermark=NOW - 60_000, stale_since=NOW), NOW, before=None)
    answer = await call(health, token=None)
    assert (answer.status, answer.body["pipelineLagSeconds"], answer.body["stale"]) == (200, 60, True)


async def test_before_the_first_watermark_there_is_no_lag(world: World) -> None:
    answer = await call(health, token=None)
    assert (answer.status, answer.body["pipelineLagSeconds"], answer.body["stale"]) == (200, None, False)


async def test_each_failed_check_is_named(
    world: World, hub: Pinged, sockets: Pinged, sql: Database, core: Database
) -> None:
    for service, name in ((hub, "eventHubs"), (sockets, "webPubSub"), (sql, "sql"), (core, "sql")):
        service.failure = DependencyUnavailableError(name, "refused at 10.0.0.1")
        world.time += 1_000
        answer = await call(health, token=None)
        assert answer.status == 503
        assert answer.body["status"] == "unavailable"
        assert [check for check, passed in answer.body["checks"].items() if not passed] == [name]
        assert "10.0.0.1" not in answer.raw.decode()
        service.failure = None


async def test_without_redis_nothing_is_vouched_for(world: World, hub: Pinged, sql: Database, core: Database) -> None:
    away = Redis(port=1, retry=Retry(NoBackoff(), 0))
    registry = Registry(away, world.settings.sessions.timing)
    world.health = HealthCheck(registry, Watermarks(away), hub, sql, core, hub, world.now)
    answer = await call(health, token=None)
    assert (answer.status, answer.body["checks"]["redis"]) == (503, False)
    assert (answer.body["pipelineLagSeconds"], answer.body["stale"]) == (None, True)
    await away.aclose()


async def test_the_answer_is_remembered_for_a_second(world: World, hub: Pinged) -> None:
    for _ in range(5):
        await asyncio.gather(*(call(health, token=None) for _ in range(5)))
    assert hub.asked == 1
    world.time += 1_000
    await call(health, token=None)
    assert hub.asked == 2
    world.time -= 3_600_000
    await call(health, token=None)
    assert hub.asked == 3, "the clock was set back"


async def test_what_hangs_counts_as_failed_and_is_not_asked_twice(
    world: World, hub: Pinged, sql: Database, core: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_LIMIT_SECONDS", 0.2)
    hub.hangs = asyncio.Event()
    sql.hangs = core.hangs = threading.Event()
    for _ in range(2):
        answer = await call(health, token=None)
        assert answer.status == 503
        assert answer.body["checks"] == {"redis": True, "eventHubs": False, "sql": False, "webPubSub": True}
        world.time += 1_000
    assert (hub.asked, sql.asked, core.asked) == (1, 1, 1)
    hub.hangs.set()
    sql.hangs.set()
    async with asyncio.timeout(10):
        while (await call(health, token=None)).status != 200:
            world.time += 1_000


async def test_an_answer_that_comes_after_its_time_is_old_news(
    world: World, hub: Pinged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_LIMIT_SECONDS", 0.1)
    late = hub.hangs = asyncio.Event()
    assert (await call(health, token=None)).body["checks"]["eventHubs"] is False
    late.set()
    hub.hangs, hub.failure = None, DependencyUnavailableError("eventHubs", "gone since")
    world.time += 60_000
    await asyncio.sleep(0)
    assert (await call(health, token=None)).body["checks"]["eventHubs"] is False
