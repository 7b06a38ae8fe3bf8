"""People elsewhere: they beat by the API while a browser looks on."""

import asyncio
import uuid
from contextlib import suppress
from typing import Any, Self

import aiohttp

from emulators.stack import Stack


class People:
    """Sends heartbeats of any number of users, and calls the API as them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._http = aiohttp.ClientSession()
        self._tokens: dict[tuple[str, bool], str] = {}
        self._beating: dict[str, list[asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for user_id in list(self._beating):
            await self.fall_silent(user_id)
        await self._http.close()

    async def call(
        self, method: str, path: str, user_id: str, body: object = None, *, admin: bool = False
    ) -> tuple[int, Any]:
        """The status and the decoded body of a call."""
        token = await self.token(user_id, admin=admin)
        url = f"{self._stack.addresses.api}{path}"
        async with self._http.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}) as response:
            text = await response.read()
            return response.status, await response.json(content_type=None) if text else None

    async def beat(self, user_id: str, session_id: str, **fields: object) -> None:
        """Sends one heartbeat, which must be accepted."""
        status, body = await self.call("POST", "/heartbeat", user_id, {"sessionId": session_id, **fields})
        assert status == 202, body

    async def facility(self, facility_id: str) -> dict[str, Any]:
        """A facility as the API shows it now."""
        status, body = await self.call("GET", f"/facilities/{facility_id}", "admin", admin=True)
        assert status == 200, body
        facility: dict[str, Any] = body
        return facility

    async def come(self, user_id: str, session_id: str = "") -> str:
        """Beats every second from now on; returns the session id."""
        session_id = session_id or str(uuid.uuid4())
        await self.beat(user_id, session_id)
        self._beating.setdefault(user_id, []).append(asyncio.create_task(self._go_on(user_id, session_id)))
        return session_id

    async def fall_silent(self, user_id: str) -> None:
        """Beats no more, without a word."""
        tasks = self._beating.pop(user_id)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, user_id: str, session_id: str) -> None:
        while True:
            await asyncio.sleep(0.8)
            with suppress(aiohttp.ClientError):  # while a test has the hosts stopped
                await self.call("POST", "/heartbeat", user_id, {"sessionId": session_id})

    async def token(self, user_id: str, *, admin: bool = False) -> str:
        """An access token."""
        known = self._tokens.get((user_id, admin))
        if known is not None:
            return known
        body = {"sub": user_id, "roles": ["presence.admin"] if admin else []}
        async with self._http.post(f"{self._stack.addresses.identity}/token", json=body) as response:
            token: str = (await response.json())["access_token"]
        self._tokens[user_id, admin] = token
        return token
