"""`python -m tools.smoke API`: one heartbeat through a running system, waiting for the push that it causes.

Uses nothing but the public API. Where the token comes from, first that applies: `--token` or SMOKE_TOKEN; `--identity`,
an issuer that hands out tokens (the local emulator); the Azure CLI for AUTH_AUDIENCE.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PASSED, FAILED, INCONCLUSIVE = 0, 1, 3
_REQUEST_SECONDS = 30.0
_DIRECTORY_SECONDS = 90.0
_STACK = Path(__file__).resolve().parent.parent / ".local" / "stack.json"


class SmokeError(Exception):
    """The system does not do what it should; the message says which step and what was answered."""


class UnavailableError(SmokeError):
    """The system asks to try again later (503)."""


class InconclusiveError(Exception):
    """Nothing is wrong, but this user cannot see a push; the message says what to change."""


@dataclass
class Smoke:
    """One run against `api` (ends in `/api`) as the user of `token`."""

    session: aiohttp.ClientSession
    api: str
    token: str
    push_seconds: float
    directory_seconds: float = 0.0
    done: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Passes, or raises SmokeError or InconclusiveError. Leaves no session behind."""
        await self._healthy()
        offline = {item["facilityId"] for item in await self._own_facilities() if item["status"] == "offline"}
        negotiated = await self._call("POST", "/negotiate", {})
        session_id = f"smoke-{uuid.uuid4().hex[:12]}"
        async with self.session.ws_connect(negotiated["url"]) as socket:
            self._note("connected to Web PubSub")
            started = time.monotonic()
            accepted = await self._call("POST", "/heartbeat", {"sessionId": session_id}, expect=202)
            self._note(f"heartbeat accepted at {accepted['receivedAt']}")
            try:
                change = await self._await_online(socket, offline, accepted["receivedAt"])
                self._note(
                    f"{change['facilityId']} pushed as online {time.monotonic() - started:.2f} s after the heartbeat"
                )
            finally:
                await self._call("POST", "/heartbeat", {"sessionId": session_id, "leaving": True}, expect=202)

    async def _healthy(self) -> None:
        health = await self._call("GET", "/health", expect=None)
        failed = [name for name, well in health.get("checks", {}).items() if not well]
        if failed or "checks" not in health:
            raise SmokeError(f"GET /health: {', '.join(failed) or health}")
        lag = health["pipelineLagSeconds"]
        self._note(f"healthy, pipeline lag {'not known yet' if lag is None else f'{lag} s'}")
        if health["stale"]:
            raise SmokeError("GET /health: the pipeline is stalled; ends of sessions are held back")

    async def _own_facilities(self) -> list[dict[str, Any]]:
        """Waits for the directory: after a first start, or a change of it, the monitor loads it within a minute."""
        give_up_at = time.monotonic() + self.directory_seconds
        told = False
        while True:
            try:
                return await self._facilities()
            except (UnavailableError, InconclusiveError) as error:
                if time.monotonic() >= give_up_at:
                    raise
                if not told:
                    self._note(f"waiting up to {self.directory_seconds:g} s for the directory: {error}")
                told = True
            await asyncio.sleep(min(2.0, max(0.05, self.directory_seconds / 20)))

    async def _facilities(self) -> list[dict[str, Any]]:
        regions = (await self._call("GET", "/regions"))["regions"]
        if not regions:
            raise InconclusiveError(
                "this user belongs to no facility, so no push reaches them: put them into the directory "
                "(tables users and facility_users of the core database), wait a minute, and run this again"
            )
        found: list[dict[str, Any]] = []
        for region in regions:
            found += (await self._call("GET", f"/regions/{region['regionId']}/facilities"))["facilities"]
        return found

    async def _await_online(
        self, socket: aiohttp.ClientWebSocketResponse, offline: set[str], received_at: str
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.push_seconds):
                async for frame in socket:
                    if frame.type is aiohttp.WSMsgType.TEXT and (change := _online(json.loads(frame.data), offline)):
                        return change
        except TimeoutError:
            pass
        else:
            raise SmokeError("Web PubSub closed the connection before a push came")
        facilities = await self._facilities()
        # Times are ISO 8601 in UTC with milliseconds, so they compare as text.
        heard = {item["facilityId"] for item in facilities if (item["lastSeen"] or "") >= received_at}
        if not heard:
            raise SmokeError(
                f"the heartbeat was accepted, but {self.push_seconds:g} s later no facility has seen it: it is not "
                "ingested, or this user has no facility"
            )
        if heard & offline:
            raise SmokeError(f"{', '.join(sorted(heard & offline))} came online, but no push told so")
        raise InconclusiveError("every facility of this user was online already; use a user whose facility is offline")

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, expect: int | None = 200
    ) -> dict[str, Any]:
        headers = {} if path == "/health" else {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        async with self.session.request(
            method, self.api + path, json=body, headers=headers, timeout=timeout
        ) as response:
            text = await response.text()
            if expect is not None and response.status != expect:
                kind = UnavailableError if response.status == 503 else SmokeError
                raise kind(f"{method} {path}: {response.status} {text[:500]}")
        try:
            answer = json.loads(text)
        except ValueError:
            raise SmokeError(f"{method} {path}: {response.status}, not JSON: {text[:200]}") from None
        return answer if isinstance(answer, dict) else {}

    def _note(self, text: str) -> None:
        self.done.append(text)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _online(message: Mapping[str, Any], offline: set[str]) -> dict[str, Any] | None:
    if message.get("type") != "facility.status":
        return None
    changes: list[dict[str, Any]] = message["changes"]
    return next((item for item in changes if item["status"] == "online" and item["facilityId"] in offline), None)


async def find_token(session: aiohttp.ClientSession, options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """Returns the token to use. Raises SmokeError when there is none to be had."""
    if token := options.token or environ.get("SMOKE_TOKEN"):
        return str(token)
    if options.identity:
        async with session.post(f"{options.identity}/token", json={"sub": options.user, "roles": []}) as response:
            answer = await response.json()
        if "access_token" not in answer:
            raise SmokeError(f"{options.identity}/token: {answer}")
        return str(answer["access_token"])
    audience = environ.get("AUTH_AUDIENCE")
    program = shutil.which("az")
    if not audience or not program:
        raise SmokeError("no token: set SMOKE_TOKEN, or sign in with the Azure CLI and set AUTH_AUDIENCE")
    arguments = ("account", "get-access-token", "--resource", audience, "--query", "accessToken", "--output", "tsv")
    child = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await child.communicate()
    if child.returncode != 0:
        raise SmokeError(f"az account get-access-token: {errors.decode().strip()[:500]}")
    return output.decode().strip()


def user_of(token: str) -> str:
    """Returns who a token says it is for, unverified, for messages."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return str(claims.get("oid") or claims.get("sub") or "?")
    except (IndexError, ValueError):
        return "?"


async def smoke(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Runs the test, says how it went, and returns the exit code."""
    # Behind a proxy too; the Web PubSub address is signed, so nothing else is sent there.
    async with aiohttp.ClientSession(trust_env=True) as session:
        try:
            token = await find_token(session, options, environ)
            sys.stdout.write(f"as {user_of(token)} at {options.api}\n")
            await _until_it_answers(session, options)
            directory_seconds = min(options.wait_seconds, _DIRECTORY_SECONDS)
            await Smoke(session, options.api.rstrip("/"), token, options.push_seconds, directory_seconds).run()
        except InconclusiveError as error:
            sys.stderr.write(f"smoke: not decided: {error}\n")
            return INCONCLUSIVE
        except (SmokeError, aiohttp.ClientError, TimeoutError) as error:
            sys.stderr.write(f"smoke: failed: {error or type(error).__name__}\n")
            return FAILED
    sys.stdout.write("smoke: passed\n")
    return PASSED


async def _until_it_answers(session: aiohttp.ClientSession, options: argparse.Namespace) -> None:
    """Waits for /health to be 200: an app that was just deployed starts first, and its roles take a while to work."""
    give_up_at = time.monotonic() + options.wait_seconds
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    while True:
        try:
            async with session.get(f"{options.api.rstrip('/')}/health", timeout=timeout) as response:
                if response.status == 200 and not (await response.json()).get("stale"):
                    return
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass
        if time.monotonic() >= give_up_at:
            return
        await asyncio.sleep(min(5.0, max(0.1, options.wait_seconds / 20)))


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when the push came, 1 when something is wrong, 3 when this user cannot see a push."""
    parser = argparse.ArgumentParser(prog="python -m tools.smoke", description=main.__doc__)
    parser.add_argument("api", nargs="?", metavar="API", help="ends in /api; default: the running local stack's")
    parser.add_argument("--token", help="access token; better in SMOKE_TOKEN, where `ps` does not show it")
    parser.add_argument("--identity", metavar="URL", help="issuer with the emulator's /token")
    parser.add_argument("--user", default="u-1", help="whom that issuer makes a token for (%(default)s)")
    parser.add_argument(
        "--wait-seconds",
        type=float,
        default=0.0,
        help="for the app to become healthy, and to load its directory (%(default)g)",
    )
    parser.add_argument("--push-seconds", type=float, default=30.0, help="for the push (%(default)g)")
    options = parser.parse_args(arguments)
    if options.api is None:
        try:
            stack = json.loads(_STACK.read_text(encoding="utf-8"))
        except OSError:
            parser.error("API is missing, and no local stack is running (make up)")
        options.api, options.identity = stack["api"], options.identity or stack["identity"]
    return asyncio.run(smoke(options, os.environ))


if __name__ == "__main__":
    sys.exit(main())
