"""A client of the running system: beats over HTTP, listens on a WebSocket, and knows nothing of the product's code."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, Self

import aiohttp

DEADLINE = 30.0
"""Seconds that anything may take on a busy machine; waits end with the event."""
SUBPROTOCOL = "json.webpubsub.azure.v1"
ADMIN = "presence.admin"


@dataclass(frozen=True)
class Answer:
    """A response; `body` is None where there is no JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    def problem(self) -> tuple[int, str]:
        """Status and code, having checked the form that every problem has (RFC 9457)."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        assert {"type", "title", "status", "detail", "code"} <= self.body.keys()
        assert self.body["status"] == self.status
        return self.status, self.body["code"]


@dataclass
class Listener:
    """A browser's live feed: everything that was sent to its regions, in order."""

    socket: aiohttp.ClientWebSocketResponse
    messages: list[dict[str, Any]] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self) -> None:
        """Takes in what comes until the socket closes."""
        async for frame in self.socket:
            if frame.type is not aiohttp.WSMsgType.TEXT:
                continue
            envelope = json.loads(frame.data)
            if envelope.get("type") == "message":
                async with self.arrived:
                    self.messages.append(envelope["data"])
                    self.arrived.notify_all()

    def changes(self, facility: str) -> list[dict[str, Any]]:
        """The facility's changes in the order of arrival."""
        return [
            change
            for message in self.messages
            if message["type"] == "facility.status"
            for change in message["changes"]
            if change["facilityId"] == facility
        ]

    async def until[T](self, find: Callable[[], T | None], what: str) -> T:
        """Returns what `find` finds once a message has brought it."""
        async with self.arrived:
            try:
                async with asyncio.timeout(DEADLINE):
                    while not (found := find()):
                        await self.arrived.wait()
            except TimeoutError:
                raise AssertionError(f"not within {DEADLINE:.0f} s: {what}; last: {self.messages[-5:]}") from None
        return found

    async def change(self, facility: str, status: str, *, above: int = 0) -> dict[str, Any]:
        """Returns the first change of a facility to a status with a version above the given one."""

        def find() -> dict[str, Any] | None:
            found = (each for each in self.changes(facility) if each["version"] > above and each["status"] == status)
            return next(found, None)

        return await self.until(find, f"{facility} {status} above version {above}")


class FrontEnds:
    """People with browsers: `async with FrontEnds(issuer, apis) as people`, which get their tokens from the issuer."""

    def __init__(self, issuer: str, apis: Sequence[str]) -> None:
        self._issuer = issuer
        self._apis = apis
        self._tokens: dict[tuple[str, tuple[str, ...]], str] = {}
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.http = await self._resources.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def token(self, user: str, *roles: str, **claims: Any) -> str:
        """A token of the issuer; one with special claims is a new one each time."""
        held = self._tokens.get((user, roles))
        if held and not claims:
            return held
        asked = {"sub": user, "roles": list(roles), **claims}
        async with self.http.post(f"{self._issuer}/token", json=asked) as response:
            assert response.status == 200, await response.text()
            token: str = (await response.json())["access_token"]
        if not claims:
            self._tokens[user, roles] = token
        return token

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        host: int = 0,
    ) -> Answer:
        """Calls the API of a host, counted from 0; `body` is sent as JSON, bytes as they are."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        address = f"{self._apis[host]}{path}"
        sent |= headers or {}
        async with self.http.request(method, address, data=BytesIO(raw) if raw else None, headers=sent) as response:
            answer = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, json.loads(answer) if is_json and answer else None, response.headers)

    async def beat(self, user: str, session: str = "s", *, host: int = 0, **fields: Any) -> dict[str, Any]:
        """Sends one heartbeat; returns the answer, which must be 202."""
        token = await self.token(user)
        body = {"sessionId": session, **fields}
        answer = await self.call("POST", "/heartbeat", token=token, body=body, host=host)
        assert answer.status == 202, answer
        accepted: dict[str, Any] = answer.body
        return accepted

    async def leave(self, user: str, session: str = "s", *, host: int = 0) -> dict[str, Any]:
        return await self.beat(user, session, host=host, leaving=True)

    async def facility(self, facility: str, *, host: int = 0) -> dict[str, Any]:
        """The facility as the API shows it now."""
        token = await self.token("admin", ADMIN)
        answer = await self.call("GET", f"/facilities/{facility}", token=token, host=host)
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.body
        return shown

    async def listen(self, user: str = "admin", *roles: str) -> Listener:
        """Opens a live feed on all regions that the user may see."""
        roles = roles or (ADMIN,)
        negotiated = await self.call("POST", "/negotiate", token=await self.token(user, *roles))
        assert negotiated.status == 200, negotiated
        socket = await self._resources.enter_async_context(
            self.http.ws_connect(negotiated.body["url"], protocols=[SUBPROTOCOL])
        )
        listener = Listener(socket)
        receiving = asyncio.create_task(listener.receive())

        async def stop() -> None:
            await socket.close()
            await receiving

        self._resources.push_async_callback(stop)
        return listener


def plus(instant: str, seconds: float) -> str:
    """An instant of the API, so much later."""
    later = datetime.fromisoformat(instant) + timedelta(seconds=seconds)
    return f"{later:%Y-%m-%dT%H:%M:%S}.{later.microsecond // 1000:03d}Z"
