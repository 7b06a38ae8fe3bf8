"""The simulator's live feed and its process, against a server that speaks the API of the contract."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from emulators.simulator.api import Api
from emulators.simulator.board import Board, Transition
from emulators.simulator.feed import SUBPROTOCOL, Feed
from emulators.simulator.measures import Measures

SINCE = "2026-01-02T03:04:05.678Z"


class Product:
    """One region with one facility, whose messages the test sends."""

    def __init__(self) -> None:
        self.sequence = 5
        self.snapshots_read = 0
        self.heartbeats: list[dict[str, Any]] = []
        self.roles: list[list[str]] = []
        self.subscribers: list[web.WebSocketResponse] = []
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_post("/api/heartbeat", self._heartbeat)
        app.router.add_post("/api/negotiate", self._negotiate)
        app.router.add_get("/api/regions/r-1/facilities", self._snapshot)
        app.router.add_get("/client", self._subscribe)
        self.server = TestServer(app)

    def url(self, path: str = "") -> str:
        return str(self.server.make_url(path)).rstrip("/")

    async def announce(self, version: int, status: str = "online", *, skip: int = 0) -> None:
        self.sequence += 1 + skip
        change = {"facilityId": "f-1", "status": status, "since": SINCE, "version": version}
        data = {
            **{"type": "facility.status", "regionId": "r-1", "sequence": self.sequence},
            "changes": [change | {"sessions": 1, "reason": "heartbeat"}],
        }
        for socket in self.subscribers:
            await socket.send_json({"type": "message", "from": "group", "group": "region-r-1", "data": data})

    async def _token(self, request: web.Request) -> web.Response:
        self.roles.append((await request.json())["roles"])
        return web.json_response({"access_token": "token"})

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self.heartbeats.append(await request.json())
        return web.json_response({"intervalSeconds": 1, "ttlSeconds": 3, "receivedAt": SINCE}, status=202)

    async def _negotiate(self, _: web.Request) -> web.Response:
        return web.json_response({"url": self.url("/client").replace("http", "ws"), "regions": ["r-1"]})

    async def _snapshot(self, _: web.Request) -> web.Response:
        self.snapshots_read += 1
        facility = {"facilityId": "f-1", "name": "One", "status": "offline", "version": 0}
        return web.json_response(
            {"regionId": "r-1", "sequence": self.sequence, "stale": False, "facilities": [facility]}
        )

    async def _subscribe(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[SUBPROTOCOL])
        await socket.prepare(request)
        assert socket.ws_protocol == SUBPROTOCOL
        await socket.send_json({"type": "system", "event": "connected", "connectionId": "1"})
        self.subscribers.append(socket)
        async for _ in socket:
            pass
        self.subscribers.remove(socket)
        return socket


@pytest.fixture
async def product() -> AsyncIterator[Product]:
    product = Product()
    await product.server.start_server()
    yield product
    await product.server.close()


class Follower:
    """A Feed that runs, and what it told."""

    def __init__(self) -> None:
        self.board = Board()
        self.measures = Measures()
        self.transitions: list[Transition] = []


@pytest.fixture
async def follower(product: Product, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Follower]:
    monkeypatch.setattr("emulators.simulator.feed.RESYNC_SECONDS", 0.05)
    follower = Follower()
    async with aiohttp.ClientSession() as session:
        feed = Feed(
            session,
            Api(session, product.url("/api"), product.url()),
            follower.board,
            follower.measures,
            on_transition=lambda change, _: follower.transitions.append(change),
            on_stale=lambda *_: None,
        )
        following = asyncio.create_task(feed.follow())
        await until(lambda: product.subscribers and "r-1" in follower.board.regions)
        yield follower
        following.cancel()
        await asyncio.wait([following])


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_changes_are_followed_as_they_arrive(product: Product, follower: Follower) -> None:
    assert ["presence.admin"] in product.roles
    await product.announce(1)
    await product.announce(2, "offline")
    await until(lambda: len(follower.transitions) == 2)
    assert [change.status for change in follower.transitions] == ["online", "offline"]
    assert follower.measures.resyncs == 0
    assert product.snapshots_read == 1


async def test_a_gap_is_closed_by_one_snapshot(product: Product, follower: Follower) -> None:
    await product.announce(3, skip=1)
    await product.announce(4)
    await until(lambda: follower.board.regions["r-1"].sequence == product.sequence)
    assert product.snapshots_read == 2
    assert follower.measures.resyncs == 1
    await product.announce(5)
    await until(lambda: follower.board.regions["r-1"].facilities["f-1"].version == 5)
    assert product.snapshots_read == 2


async def test_a_lost_connection_is_made_again_with_a_new_snapshot(product: Product, follower: Follower) -> None:
    await product.subscribers[0].close()
    await until(lambda: product.snapshots_read == 2 and product.subscribers)
    await product.announce(1)
    await until(lambda: len(follower.transitions) == 1)


async def start_simulator(product: Product, *options: str) -> Process:
    addresses = ("--api", product.url("/api"), "--identity", product.url())
    command = (sys.executable, "-m", "emulators.simulator", *addresses, "--sessions", "20", *options)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)


async def test_each_change_is_a_line_and_an_interrupt_ends_the_simulator_cleanly(product: Product) -> None:
    simulator = await start_simulator(product)
    await until(lambda: product.subscribers and product.snapshots_read and len(product.heartbeats) >= 5)
    await product.announce(1)
    assert simulator.stdout is not None
    async with asyncio.timeout(10):
        while b"f-1      online" not in (line := await simulator.stdout.readline()):
            assert line
        simulator.send_signal(signal.SIGINT)
        output, errors = await simulator.communicate()
    assert b"heartbeats accepted" in output.splitlines()[-1]
    assert (simulator.returncode, errors) == (0, b"")


async def test_notices_of_the_starter_are_shown_until_it_is_gone(product: Product) -> None:
    simulator = await start_simulator(product, "--notices-from-stdin")
    async with asyncio.timeout(10):
        output, errors = await simulator.communicate(b"host-2 ended (SIGKILL)\n")
    assert b"host-2 ended (SIGKILL)" in output
    assert (simulator.returncode, errors) == (0, b"")


async def test_the_duration_ends_a_run(product: Product) -> None:
    simulator = await start_simulator(product, "--duration", "0.3", "--seed", "abc")
    async with asyncio.timeout(10):
        output, _ = await simulator.communicate()
    assert b"seed abc" in output
    assert simulator.returncode == 0
