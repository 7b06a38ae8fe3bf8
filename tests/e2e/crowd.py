"""People who go on beating whatever happens to the system, and one who watches what browsers are told of it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from emulators.stack.addresses import Addresses

DEADLINE = 40.0
"""Seconds that anything may take on a busy machine; waits end with the event."""
_RETRY_SECONDS = 0.3
_CALL = aiohttp.ClientTimeout(total=3)


async def eventually[T](ask: Callable[[], Awaitable[T]], what: str, seconds: float = DEADLINE) -> T:
    """Returns the first answer that is not empty."""
    give_up_at = time.monotonic() + seconds
    while not (found := await ask()):
        assert time.monotonic() < give_up_at, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)
    return found


@dataclass
class Member:
    """Somebody with a browser at one facility; `expires_at` is the deadline that the last answer named."""

    user: str
    facility: str
    expires_at: str = ""
    beats: int = 0
    refused: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


@dataclass
class Told:
    """What a browser that sees all regions was told, in order, each with the time of its arrival (s, monotonic)."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def changes(self, facility: str | None = None, since: float = 0.0) -> list[dict[str, Any]]:
        return [
            change
            for at, message in self.messages
            if at >= since and message["type"] == "facility.status"
            for change in message["changes"]
            if facility in {None, change["facilityId"]}
        ]

    def newest(self, facility: str) -> str | None:
        """The status last told of a facility."""
        return next((change["status"] for change in reversed(self.changes(facility))), None)

    def offline(self, since: float = 0.0) -> list[tuple[str, str]]:
        """(facility, since) of everything called offline."""
        return [(c["facilityId"], c["since"]) for c in self.changes(since=since) if c["status"] == "offline"]

    def stale(self, region: str = "r-1", since: float = 0.0) -> list[dict[str, Any]]:
        return [
            message
            for at, message in self.messages
            if at >= since and message["type"] == "presence.stale" and message["regionId"] == region
        ]

    def arrival(self, facility: str, status: str, since: float) -> float:
        """When the first such change arrived."""
        return next(
            at
            for at, message in self.messages
            if at >= since and message["type"] == "facility.status"
            for change in message["changes"]
            if change["facilityId"] == facility and change["status"] == status
        )


class Crowd:
    """Beats by the given interval (s) through whichever host answers, as through a load balancer."""

    def __init__(self, at: Addresses, http: aiohttp.ClientSession, interval: float) -> None:
        self._at = at
        self._http = http
        self._interval = interval
        self._tokens: dict[str, str] = {}
        self.members: dict[str, Member] = {}
        self.told = Told()

    async def token(self, user: str, *roles: str) -> str:
        held = self._tokens.get(user)
        if held is None:
            asked = {"sub": user, "roles": list(roles)}
            async with self._http.post(f"{self._at.identity}/token", json=asked, timeout=_CALL) as answer:
                held = self._tokens[user] = (await answer.json())["access_token"]
        return held

    async def call(self, method: str, path: str, token: str, body: object = None) -> tuple[int, Any]:
        """Returns status and body of the first host that answers. Raises OSError or TimeoutError when none does."""
        failure: Exception = OSError("no host")
        for api in self._at.hosts:
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with self._http.request(method, api + path, json=body, headers=headers, timeout=_CALL) as answer:
                    return answer.status, await answer.json()
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = error
        raise failure

    async def join(self, numbers: Iterable[int]) -> None:
        """Has the users of these numbers beat from now on, each at the facility of their number."""
        for number in numbers:
            member = Member(f"u-{number}", f"f-{number}")
            member.task = asyncio.create_task(self._beat(member))
            self.members[member.user] = member
        await eventually(self._all_heard, "a heartbeat of everybody is accepted")

    async def fall_silent(self, *numbers: int) -> dict[str, str]:
        """Ends people without a goodbye; returns facility → their deadline."""
        gone = [self.members.pop(f"u-{number}") for number in numbers]
        for member in gone:
            await _end(member)
        return {member.facility: member.expires_at for member in gone}

    async def close(self) -> None:
        for member in self.members.values():
            await _end(member)

    async def facilities(self) -> dict[str, dict[str, Any]]:
        """What the API shows of every facility of two regions, by id; empty when it cannot say."""
        shown: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            token = await self.token("watcher", "presence.admin")
            for region in ("r-1", "r-2"):
                status, body = await self.call("GET", f"/regions/{region}/facilities", token)
                if status != 200:
                    return {}
                shown |= {each["facilityId"]: each for each in body["facilities"]}
            return shown
        return {}

    async def calm(self) -> None:
        """Returns once nothing is stale and everybody here is shown online."""

        async def is_calm() -> bool:
            for api in self._at.hosts:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with self._http.get(f"{api}/health", timeout=_CALL) as answer:
                        if answer.status != 200 or (await answer.json())["stale"]:
                            return False
                        continue
                return False
            shown = await self.facilities()
            return bool(shown) and all(
                # The message may come a moment after the snapshot.
                shown[m.facility]["status"] == "online" and self.told.newest(m.facility) == "online"
                for m in self.members.values()
            )

        await eventually(is_calm, "everything is well again")

    async def _all_heard(self) -> bool:
        return all(member.beats for member in self.members.values())

    async def _beat(self, member: Member) -> None:
        token = await self.token(member.user)
        while not member.gone.is_set():
            started = time.monotonic()
            try:
                status, body = await self.call("POST", "/heartbeat", token, {"sessionId": "s"})
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = 0
            if status == 202:
                member.expires_at = body["expiresAt"]
                member.beats += 1
                pause = max(0.0, self._interval - (time.monotonic() - started))
            else:
                member.refused += 1
                pause = _RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(member.gone.wait(), pause)

    async def watch(self) -> None:
        """Takes in messages until cancelled."""
        token = await self.token("watcher", "presence.admin")
        _, negotiated = await self.call("POST", "/negotiate", token, {})
        async with self._http.ws_connect(negotiated["url"], protocols=["json.webpubsub.azure.v1"]) as socket:
            async for frame in socket:
                envelope = json.loads(frame.data)
                # What is not numbered is not about regions.
                if envelope.get("type") == "message" and "sequence" in envelope["data"]:
                    self.told.messages.append((time.monotonic(), envelope["data"]))


@asynccontextmanager
async def gathered(at: Addresses, interval: float) -> AsyncIterator[Crowd]:
    """A crowd that nobody has joined yet, watched from before anything happens."""
    async with aiohttp.ClientSession() as http:
        crowd = Crowd(at, http, interval)
        watching = asyncio.create_task(crowd.watch())
        try:
            yield crowd
        finally:
            await crowd.close()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _end(member: Member) -> None:
    # A beat that is on its way is let through, so that the deadline is the one the member was told.
    member.gone.set()
    if member.task is not None:
        await member.task
