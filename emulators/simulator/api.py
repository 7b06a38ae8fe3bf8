"""The product's API as a browser calls it: with a token of the issuer, and with patience."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

TOKEN_SECONDS = 3600
RENEW_BEFORE_SECONDS = 60.0
TIMEOUT = aiohttp.ClientTimeout(total=15)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON body; `retry_after` in seconds where the server named it."""

    status: int
    body: Any
    retry_after: float | None = None


class RefusedError(Exception):
    """The server did not do what a reader's call asks; the message holds its reason."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        super().__init__(f"status {answer.status}: {answer.body}")


class Api:
    """Calls with tokens for demo users. Network failures are raised as aiohttp.ClientError or TimeoutError."""

    def __init__(self, session: aiohttp.ClientSession, api: str, identity: str) -> None:
        self._session = session
        self._api = api.rstrip("/")
        self._identity = identity.rstrip("/")
        self._tokens: dict[str, tuple[str, float]] = {}

    async def heartbeat(self, user_id: str, body: dict[str, Any]) -> Answer:
        """POST /heartbeat as that user."""
        return await self._call("POST", "/heartbeat", user_id, (), body)

    async def negotiate(self, user_id: str, roles: Sequence[str]) -> dict[str, Any]:
        """A Web PubSub client URL for all regions of that user; raises RefusedError."""
        return self._expect(await self._call("POST", "/negotiate", user_id, roles, {}))

    async def snapshot(self, user_id: str, roles: Sequence[str], region_id: str) -> dict[str, Any]:
        """The states of a region's facilities; raises RefusedError."""
        return self._expect(await self._call("GET", f"/regions/{region_id}/facilities", user_id, roles))

    def forget_token(self, user_id: str) -> None:
        """Has the next call of that user fetch a new token."""
        self._tokens.pop(user_id, None)

    async def _call(
        self, method: str, path: str, user_id: str, roles: Sequence[str], body: dict[str, Any] | None = None
    ) -> Answer:
        headers = {"Authorization": f"Bearer {await self._token(user_id, roles)}"}
        async with self._session.request(method, self._api + path, json=body, headers=headers, timeout=TIMEOUT) as got:
            content = await got.json(content_type=None) if got.content_length != 0 else None
            return Answer(got.status, content, _seconds(got.headers.get("Retry-After")))

    def _expect(self, answer: Answer) -> dict[str, Any]:
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise RefusedError(answer)
        return answer.body

    async def _token(self, user_id: str, roles: Sequence[str]) -> str:
        token, until = self._tokens.get(user_id, ("", 0.0))
        if time.monotonic() < until:
            return token
        wanted = {"sub": user_id, "roles": list(roles), "expiresIn": TOKEN_SECONDS}
        async with self._session.post(f"{self._identity}/token", json=wanted, timeout=TIMEOUT) as got:
            got.raise_for_status()
            token = str((await got.json())["access_token"])
        self._tokens[user_id] = (token, time.monotonic() + TOKEN_SECONDS - RENEW_BEFORE_SECONDS)
        return token


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
