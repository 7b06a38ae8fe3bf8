"""Simulated front-ends: each plays the lives of one seat against the API."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import aiohttp

from emulators.simulator.api import Api
from emulators.simulator.lives import RELOAD_SECONDS, Ending, Life, Outage, Pace, beat_delay, lives, retry_delay
from emulators.simulator.measures import Measures
from emulators.simulator.people import Person

logger = logging.getLogger(__name__)

ACCEPTED, UNAUTHENTICATED, ENDED = 202, 401, 410
BUSY = (429, 500, 502, 503, 504)


class SessionOverError(Exception):
    """The server has ended the session for good, or refuses it."""


class Network:
    """Which facilities are cut off now."""

    def __init__(self) -> None:
        self._down: dict[str, asyncio.Event] = {}

    def is_down(self, facility_id: str) -> bool:
        """Whether nothing gets out of a facility."""
        return facility_id in self._down

    async def until_up(self, facility_id: str) -> None:
        """Returns when the facility is connected."""
        if event := self._down.get(facility_id):
            await event.wait()

    async def play(self, outages: Iterator[Outage]) -> AsyncIterator[Outage]:
        """Cuts facilities off and connects them again as the outages say; yields each as it begins."""
        started = asyncio.get_running_loop().time()
        for outage in outages:
            await asyncio.sleep(started + outage.start - asyncio.get_running_loop().time())
            if outage.facility_id not in self._down:
                event = self._down[outage.facility_id] = asyncio.Event()
                asyncio.get_running_loop().call_later(outage.seconds, self._reconnect, outage.facility_id, event)
                yield outage

    def _reconnect(self, facility_id: str, event: asyncio.Event) -> None:
        del self._down[facility_id]
        event.set()


class FrontEnd:
    """One seat: a person who opens the application, works, goes, and comes back."""

    def __init__(self, api: Api, person: Person, network: Network, measures: Measures, seed: str, seat: int) -> None:
        self._api = api
        self._person = person
        self._network = network
        self._measures = measures
        self._seed = seed
        self._seat = seat
        self._random = Random(f"{seed}/beats/{seat}")
        self._interval = 30.0
        self._ttl = 90.0
        self._life: Life | None = None

    async def play(self, pace: Pace) -> None:
        """Plays the seat's lives until it is cancelled."""
        for life in lives(self._seed, self._seat, pace):
            await asyncio.sleep(life.away)
            self._life = life
            self._measures.live += 1
            try:
                await self._live(life)
            except SessionOverError as error:
                self._measures.problems[str(error)] += 1
            finally:
                self._measures.live -= 1
            self._life = None

    async def leave(self) -> None:
        """Says that the session leaves which was cut short when `play` was cancelled, as a browser that is closed."""
        if self._life is not None and not self._network.is_down(self._home):
            await self._send(self._life, leaving=True)

    async def _live(self, life: Life) -> None:
        started = asyncio.get_running_loop().time()
        if life.reload_at is not None:
            await self._beat_until(started + life.reload_at, life, started)
            await self._send(life, leaving=True)
            await asyncio.sleep(self._random.uniform(*RELOAD_SECONDS))
        await self._beat_until(started + life.stay, life, started)
        if life.ending is Ending.LEAVE and not self._network.is_down(self._home):
            await self._send(life, leaving=True)

    async def _beat_until(self, end: float, life: Life, started: float) -> None:
        loop = asyncio.get_running_loop()
        hidden_from = started + life.hidden_from if life.hidden_from is not None else math.inf
        while loop.time() < end:
            await self._send(life, until=end)
            is_hidden = loop.time() >= hidden_from
            delay = beat_delay(self._interval, self._ttl, is_hidden=is_hidden, random=self._random)
            await asyncio.sleep(min(delay, max(0.0, end - loop.time())))

    async def _send(self, life: Life, *, leaving: bool = False, until: float = math.inf) -> None:
        """Returns when the heartbeat is accepted or, unheard, it is time to go; raises SessionOverError."""
        body: dict[str, Any] = {"sessionId": life.session_id}
        facilities = self._person.facility_ids
        if life.names_facility and len(facilities) > 1:
            body["facilityId"], facilities = self._home, (self._home,)
        if leaving:
            body["leaving"] = True
        loop = asyncio.get_running_loop()
        attempt = 0
        while loop.time() < until:
            if self._network.is_down(self._home):
                await self._wait_for_network(until)
                continue
            attempt += 1
            delay = retry_delay(attempt, self._interval, self._random)
            try:
                answer = await self._api.heartbeat(self._person.user_id, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                self._measures.problems[type(error).__name__] += 1
            else:
                if answer.status == ACCEPTED:
                    self._interval = float(answer.body["intervalSeconds"])
                    self._ttl = float(answer.body["ttlSeconds"])
                    if not leaving:
                        self._measures.heartbeat_accepted(facilities, answer.body["receivedAt"])
                    return
                self._measures.problems[f"status {answer.status}"] += 1
                if answer.status == UNAUTHENTICATED and attempt == 1:
                    self._api.forget_token(self._person.user_id)
                    continue
                if answer.status not in BUSY:
                    logger.debug("heartbeat of %s refused: %s", self._person.user_id, answer.body)
                    raise SessionOverError("sessions ended by the server" if answer.status == ENDED else "refused")
                delay += answer.retry_after or 0.0
            if leaving:
                return  # a browser that closes does not wait
            await asyncio.sleep(min(delay, max(0.0, until - loop.time())))

    async def _wait_for_network(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until if until < math.inf else None):
                await self._network.until_up(self._home)
                await asyncio.sleep(self._random.uniform(0, self._interval))  # not all of a facility in one moment
        except TimeoutError:
            return

    @property
    def _home(self) -> str:
        return self._person.facility_ids[0]
