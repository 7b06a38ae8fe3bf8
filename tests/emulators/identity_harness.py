"""Runs the identity emulator inside the test's event loop, with a clock of its own and a browser-like client."""

import asyncio
import base64
import hashlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
from aiohttp import web

from emulators.identity.server import create_app
from emulators.identity.settings import Settings

CALLBACK = "http://127.0.0.1:4711/app/?from=sign-in"
VERIFIER = "a-code-verifier-with-at-least-forty-three-characters"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REQUEST = {
    "client_id": "facility-pulse-web",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid profile",
    "state": "a state & more",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


class Clock:
    """Real time plus what the test lets pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed


class Issuer:
    """A running issuer and a browser-like client."""

    def __init__(self, address: str, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.address = address
        self.session = session
        self.clock = clock

    async def configuration(self) -> dict[str, Any]:
        async with self.session.get(f"{self.address}/.well-known/openid-configuration") as response:
            assert response.status == 200
            answer: dict[str, Any] = await response.json()
            return answer

    async def shortcut(self, **body: object) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.address}/token", json=body) as response:
            return response.status, await response.json()

    async def grant(self, **form: str) -> tuple[int, dict[str, Any]]:
        async with self.session.post(f"{self.address}/token", data=form) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def choose(self, **choice: str) -> dict[str, str]:
        """Submits the sign-in form; returns the parameters that the client's redirect URI is called with."""
        async with self.session.post(
            f"{self.address}/authorize", data=REQUEST | choice, allow_redirects=False
        ) as response:
            assert response.status == 303, await response.text()
            location = response.headers["Location"]
        assert location.startswith(f"{CALLBACK}&")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def redeem(self, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
        good = {"client_id": "facility-pulse-web", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return await self.grant(grant_type="authorization_code", code=code, **(good | changes))

    async def verified(self, token: str, audience: str = "facility-pulse") -> dict[str, Any]:
        """The claims as any relying party reads them, with PyJWT's JWKS client."""
        configuration = await self.configuration()
        client = jwt.PyJWKClient(configuration["jwks_uri"])
        key = await asyncio.to_thread(client.get_signing_key_from_jwt, token)
        return jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=configuration["issuer"])


@asynccontextmanager
async def running_issuer(settings: Settings | None = None) -> AsyncIterator[Issuer]:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with AsyncExitStack() as stack:
            app = create_app(replace(settings or Settings(issuer=""), issuer=address), clock)
            runner = web.AppRunner(app, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener).start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            yield Issuer(address, session, clock)
