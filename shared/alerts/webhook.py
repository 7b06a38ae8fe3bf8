"""Alerts to the webhook: signed, in their order per facility, tried again with growing pauses, in the background.

While the pipeline is stale nobody is called, be it for the first time or again: what waits keeps its place and its
attempts. That goes for returns too, as it does where alerts are decided: what was true before the stall may not be now.

What waits is in Redis, put there by the script that announced it, so a process that dies loses none; one that dies
between the answer and the note of it sends that alert again, under the same `X-Pulse-Delivery`.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from redis.asyncio import Redis

from shared import telemetry
from shared.alerts.signature import HEADER, sign
from shared.background import BackgroundTask
from shared.broadcast.messages import facility_alert
from shared.domain.alert import AlertState
from shared.errors import DirectoryMissingError, PulseError
from shared.registry import keys
from shared.registry.client import redis_errors, text
from shared.registry.dead_letters import WEBHOOK, DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryView
from shared.registry.lease import Lease
from shared.registry.scripts import load
from shared.registry.watermarks import Watermarks
from shared.stream.entries import AlertEntry

logger = logging.getLogger(__name__)

DELIVERY_HEADER = "X-Pulse-Delivery"
TRIES = 20
"""Attempts, over about three quarters of an hour, before an alert is set aside."""
REFUSALS = 3
"""Attempts before an alert is set aside that the webhook refuses for what is in it."""
_NOT_OF_THE_ALERT = frozenset({401, 403, 404, 405, 407, 408, 410, 425, 429})
"""4xx that any other alert would get as well: a wrong secret or address, which an operator needs time to mend, or a bad
moment."""
_FIRST_PAUSE_MS = 1_000
_LONGEST_PAUSE_MS = 300_000
_AT_ONCE = 8
_TIMEOUT_SECONDS = 5.0
_NUMBER_WAIT_MS = 3_000
"""How long a call waits for the number under which its alert goes to the region; later it goes without."""
_LEASE_MS = 15_000


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where alerts go, and the secret that signs them."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Call:
    partition: keys.Partition
    facility_id: str
    waiting_since: int


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why an alert was not taken. `is_refusal`: for what is in it, so that the same answer is to be expected again."""

    reason: str
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class _Attempts:
    """How often a call was tried in vain, and how many of those were refusals."""

    tried: int = 0
    refused: int = 0

    @classmethod
    def parse(cls, packed: object) -> "_Attempts":
        """Reads what `packed` has written; None is none."""
        tried, _, refused = ("" if packed is None else text(packed)).partition("/")
        return cls(int(tried or 0), int(refused or 0))

    def packed(self) -> str:
        """Returns this as it is kept in Redis."""
        return f"{self.tried}/{self.refused}"

    def after(self, problem: _Problem) -> "_Attempts":
        """Returns the numbers with one more."""
        return _Attempts(self.tried + 1, self.refused + problem.is_refusal)

    @property
    def exhausted(self) -> bool:
        """Whether the call is given up."""
        return self.tried >= TRIES or self.refused >= REFUSALS


class Webhook:
    """One per process; one at a time over all processes, by lease."""

    def __init__(
        self,
        client: Redis,
        settings: WebhookSettings,
        directory: DirectoryCache,
        dead_letters: DeadLetters,
        now: Callable[[], int],
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._client = client
        self._settings = settings
        self._directory = directory
        self._dead_letters = dead_letters
        self._now = now
        self._watermarks = Watermarks(client)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._lease = Lease(client, keys.WEBHOOK_LEASE, _LEASE_MS)
        self._done = load(client, "webhook_done", prelude=False)
        self._background = BackgroundTask(self._run)

    def wake(self) -> None:
        """Has waiting alerts sent in the background; returns at once."""
        self._background.start()

    async def close(self) -> None:
        """Stops sending; what waits is sent by the next process that is woken."""
        await self._background.stop()

    async def deliver(self) -> None:
        """Sends what is due, unless another process is at it or the pipeline is stale.

        Raises DependencyUnavailableError("redis"), when all attempts under way have come to their end.
        """
        if not await self._due():
            return
        if not await self._lease.acquire():
            return
        try:
            async with self._lease.kept(), aiohttp.ClientSession(timeout=self._timeout) as session:
                view = await self._directory.view()
                while not self._lease.lost and (calls := await self._due()):
                    # Each comes to its end, also where another fails: without session and lease it could not.
                    moved = await asyncio.gather(
                        *(self._handle(session, view, call) for call in calls), return_exceptions=True
                    )
                    for failure in moved:
                        if isinstance(failure, BaseException):
                            raise failure
                    if not any(moved):
                        return
        finally:
            await self._lease.release()

    async def _run(self) -> None:
        try:
            await self.deliver()
        except DirectoryMissingError:
            logger.warning("alerts wait until a directory is published")
        except PulseError as error:
            logger.warning("alerts not sent, the next sweep tries again: %s", error)

    async def _due(self) -> list[_Call]:
        """Returns the facilities whose first call is due, the longest due first, as many as are sent at once.

        None while the pipeline is stale; the sweep wakes again every second.
        """
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zrange(
                    partition.webhooks, "-inf", self._now(), byscore=True, offset=0, num=_AT_ONCE, withscores=True
                )
            rows = await pipe.execute()
        calls = [
            _Call(partition, text(facility_id), int(score))
            for partition, found in zip(keys.ALL_PARTITIONS, rows, strict=True)
            for facility_id, score in found
        ]
        if not calls or (await self._watermarks.load()).stale:
            return []
        return sorted(calls, key=lambda call: call.waiting_since)[:_AT_ONCE]

    async def _handle(self, session: aiohttp.ClientSession, view: DirectoryView, call: _Call) -> bool:
        """Makes one attempt; returns False if the call is to be looked at again a little later."""
        partition = call.partition
        with redis_errors():
            first = await self._client.lindex(partition.webhook_calls(call.facility_id), 0)
            attempts = _Attempts.parse(await self._client.hget(partition.webhook_attempts, call.facility_id))
        facility = view.facility(call.facility_id)
        if first is None or facility is None:
            # A facility that has left the directory raises no alert.
            await self._finish(call, text(first or ""))
            return True
        state, _, since = text(first).partition("/")
        alert = AlertEntry(call.facility_id, AlertState(state), int(since))
        with redis_errors():
            number = await self._client.get(keys.alert_sequence(alert.alert_id))
        if number is None and not attempts.tried and self._now() - call.waiting_since < _NUMBER_WAIT_MS:
            return False
        message = facility_alert(facility.region_id, None if number is None else int(number), alert)
        body = json.dumps(message, separators=(",", ":")).encode()
        problem = await self._post(session, body, alert.alert_id)
        if problem is None:
            telemetry.event("alert.called", facility=call.facility_id, state=state, attempt=attempts.tried + 1)
            await self._finish(call, text(first))
        elif not (attempts := attempts.after(problem)).exhausted:
            await self._put_off(call, attempts, problem)
        else:
            await self._dead_letters.add(WEBHOOK, problem.reason, body, alert=alert.alert_id)
            await self._finish(call, text(first))
        return True

    async def _post(self, session: aiohttp.ClientSession, body: bytes, alert_id: str) -> _Problem | None:
        """Returns None when the webhook has taken the alert, otherwise what was wrong."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facility-pulse",
            HEADER: sign(self._settings.secret, body, self._now()),
            DELIVERY_HEADER: alert_id,
        }
        try:
            # A redirect would lead the signed body to somebody who was not named in the settings.
            async with session.post(self._settings.url, data=body, headers=headers, allow_redirects=False) as response:
                if 200 <= response.status < 300:
                    return None
                is_refusal = 400 <= response.status < 500 and response.status not in _NOT_OF_THE_ALERT
                return _Problem(f"it answers {response.status}", is_refusal)
        except TimeoutError:
            return _Problem(f"no answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return _Problem(str(error) or type(error).__name__)

    async def _put_off(self, call: _Call, attempts: _Attempts, problem: _Problem) -> None:
        pause = min(_FIRST_PAUSE_MS * 2 ** (attempts.tried - 1), _LONGEST_PAUSE_MS) * random.uniform(0.5, 1)  # noqa: S311 -- no secret
        logger.warning("webhook, attempt %d for %s: %s", attempts.tried, call.facility_id, problem.reason)
        with redis_errors():
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hset(call.partition.webhook_attempts, call.facility_id, attempts.packed())
                pipe.zadd(call.partition.webhooks, {call.facility_id: self._now() + round(pause)}, xx=True)
                await pipe.execute()

    async def _finish(self, call: _Call, first: str) -> None:
        partition = call.partition
        with redis_errors():
            await self._done(
                keys=[partition.webhook_calls(call.facility_id), partition.webhooks, partition.webhook_attempts],
                args=[first, call.facility_id, self._now()],
            )
