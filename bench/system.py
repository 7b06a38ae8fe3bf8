"""The whole local stack, and what stands in front of it: callers with tokens, browsers with a live feed."""

import asyncio
import csv
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from redis.asyncio import Redis

from bench import load
from emulators.stack import Stack

ADMIN, GATEWAY = "presence.admin", "presence.gateway"
BATCH = 1_000
"""Heartbeats that a gateway may send at once."""
CALM = {"MASS_SILENCE_HOLD_SECONDS": "0", "HEARTBEAT_LIMIT_PER_USER": "999999999"}
"""Settings without the rules that would get in the way of a load test."""


def now() -> float:
    """Returns the time in milliseconds since the Unix epoch, as servers stamp it."""
    return time.time_ns() / 1e6


def instant(text: str) -> float:
    """Returns an instant of the API in milliseconds."""
    return datetime.fromisoformat(text).timestamp() * 1000


class Browser:
    """Sees every region. `on_change` gets each change of a facility with the moment it arrived (ms)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, on_change: Callable[[dict[str, Any], float], None]):
        self._socket = socket
        self._on_change = on_change
        self.messages = 0
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            arrived, envelope = now(), json.loads(frame.data)
            data = envelope.get("data") if envelope.get("type") == "message" else None
            if isinstance(data, dict) and data.get("type") == "facility.status":
                self.messages += 1
                for change in data["changes"]:
                    self._on_change(change, arrived)

    async def close(self) -> None:
        """Leaves."""
        await self._socket.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@dataclass
class System:
    """A stack that runs, with connections to it."""

    stack: Stack
    http: aiohttp.ClientSession
    redis: Redis
    _tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def api(self) -> str:
        """The first host's API."""
        return self.stack.addresses.api

    async def token(self, user: str, *roles: str) -> str:
        """Returns an access token."""
        if (user, *roles) not in self._tokens:
            wanted = {"sub": user, "roles": roles, "expiresIn": 86_400}
            async with self.http.post(f"{self.stack.addresses.identity}/token", json=wanted) as answer:
                answer.raise_for_status()
                self._tokens[user, *roles] = (await answer.json())["access_token"]
        return self._tokens[user, *roles]

    async def call(self, path: str, user: str, body: object, *roles: str) -> dict[str, Any]:
        """Returns the answer to a POST; raises aiohttp.ClientResponseError unless it is 2xx."""
        headers = {"Authorization": f"Bearer {await self.token(user, *roles)}"}
        async with self.http.post(f"{self.api}{path}", json=body, headers=headers) as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def gateway(self, people: Sequence[tuple[str, str]]) -> None:
        """Sends a heartbeat of each (user, session), a thousand a call."""
        for first in range(0, len(people), BATCH):
            beats = [{"userId": user, "sessionId": session} for user, session in people[first : first + BATCH]]
            answer = await self.call("/heartbeats", "gateway", {"heartbeats": beats}, GATEWAY)
            if answer["rejected"]:
                raise RuntimeError(f"heartbeats were rejected: {answer['rejected'][:3]}")

    async def browser(self, on_change: Callable[[dict[str, Any], float], None]) -> Browser:
        """Opens the live feed of an admin."""
        negotiated = await self.call("/negotiate", "bench-admin", {}, ADMIN)
        socket = await self.http.ws_connect(
            negotiated["url"], protocols=["json.webpubsub.azure.v1"], max_msg_size=0, compress=0
        )
        return Browser(socket, on_change)

    async def single_posts(self, users: Sequence[str], session: str = "s-1") -> Callable[[int], bytes]:
        """Returns requests for `load.hammer`: heartbeats of these users in turn."""
        body = json.dumps({"sessionId": session}).encode()
        made = [load.post(self.api, "/heartbeat", await self.token(user), body) for user in users]
        return lambda number: made[number % len(made)]


@asynccontextmanager
async def running(
    directory: Path, settings: Mapping[str, str], *, hosts: int = 1, people: Sequence[tuple[str, str]] = ()
) -> AsyncIterator[System]:
    """Runs a stack for the duration of the block, with the demo directory or with these (user, facility)."""
    directory.mkdir(parents=True, exist_ok=True)
    if people:
        write_directory(directory / "directory", people)
    async with AsyncExitStack() as open_ones:
        stack = await open_ones.enter_async_context(Stack(directory, CALM | dict(settings), hosts=hosts))
        http = await open_ones.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))
        )
        host, _, port = stack.addresses.redis.partition(":")
        redis = Redis(host=host, port=int(port))
        open_ones.push_async_callback(redis.aclose)
        yield System(stack, http, redis)


def write_directory(folder: Path, people: Sequence[tuple[str, str]]) -> None:
    """Writes a directory of one region and county with these (user, facility)."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[Sequence[str]]] = {
        "regions": [("region_id", "name"), ("r-1", "Region")],
        "counties": [("county_id", "region_id", "name"), ("c-1", "r-1", "County")],
        "facilities": [
            ("facility_id", "county_id", "name"),
            *((facility, "c-1", facility) for facility in dict.fromkeys(facility for _, facility in people)),
        ],
        "users": [("user_id", "name"), *((user, user) for user in dict.fromkeys(user for user, _ in people))],
        "facility_users": [("user_id", "facility_id"), *people],
    }
    for table, rows in tables.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


class Arrivals:
    """When each facility was first told to be in each status since the last `clear` (ms), by one browser."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, str], float] = {}
        self.since: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Event()

    def __call__(self, change: dict[str, Any], arrived: float) -> None:
        """Notes a change."""
        key = change["facilityId"], change["status"]
        self.at.setdefault(key, arrived)
        if change["since"]:
            self.since.setdefault(key, instant(change["since"]))
        self._changed.set()

    def clear(self) -> Self:
        """Forgets everything."""
        self.at.clear()
        self.since.clear()
        return self

    async def wait(self, facilities: Sequence[str], status: str, seconds: float) -> bool:
        """Returns whether all of them were told to be in a status within so many seconds."""
        missing = {(facility, status) for facility in facilities}
        try:
            async with asyncio.timeout(seconds):
                while missing := missing - self.at.keys():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
