"""The live status feed, as an admin's browser has it: negotiate, subscribe, resync by snapshot."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp

from emulators.simulator.api import Api, RefusedError
from emulators.simulator.board import Board, Transition
from emulators.simulator.lives import retry_delay
from emulators.simulator.measures import Measures

logger = logging.getLogger(__name__)

USER_ID = "simulator-admin"
ROLES = ("presence.admin",)
SUBPROTOCOL = "json.webpubsub.azure.v1"
LONGEST_RETRY_SECONDS = 10.0
RESYNC_SECONDS = 2.0
NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, RefusedError)


class Feed:
    """Keeps a Board current until cancelled; `on_transition` and `on_stale` are called as messages arrive."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: Api,
        board: Board,
        measures: Measures,
        *,
        on_transition: Callable[[Transition, float | None], None],
        on_stale: Callable[[str, bool], None],
    ) -> None:
        self.is_connected = False
        self._session = session
        self._api = api
        self._board = board
        self._measures = measures
        self._on_transition = on_transition
        self._on_stale = on_stale
        self._random = Random()
        self._resyncs: dict[str, asyncio.Task[None]] = {}
        self._since_gap: dict[str, list[dict[str, Any]]] = {}
        self._current_since: dict[str, float] = {}

    async def follow(self) -> None:
        """Connects, again and again with jitter, and takes in what arrives."""
        attempt = 0
        while True:
            try:
                negotiated = await self._api.negotiate(USER_ID, ROLES)
                async with self._session.ws_connect(negotiated["url"], protocols=[SUBPROTOCOL]) as socket:
                    self.is_connected = True
                    attempt = 0
                    for region_id in negotiated["regions"]:
                        self._resync(region_id, wait=0.0)
                    await self._receive(socket)
            except NETWORK_ERRORS as error:
                self._note("live feed", error)
            finally:
                self.is_connected = False
                await self._cancel_resyncs()
                self._current_since.clear()
            attempt += 1
            await asyncio.sleep(retry_delay(attempt, LONGEST_RETRY_SECONDS, self._random))

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                envelope = json.loads(frame.data)
                if envelope.get("type") == "message" and isinstance(envelope.get("data"), dict):
                    self._take(envelope["data"])

    def _take(self, message: dict[str, Any]) -> None:
        if "sequence" not in message:
            return
        region_id = message["regionId"]
        was_stale = self._is_stale(region_id)
        transitions, has_gap = self._board.take_message(message)
        for change in transitions:
            self._on_transition(change, self._lag(change))
        self._notice_stale(region_id, was_stale=was_stale)
        if has_gap:
            if region_id not in self._resyncs:
                self._measures.resyncs += 1
                self._resync(region_id, wait=self._random.uniform(0, RESYNC_SECONDS))
            self._since_gap[region_id].append(message)

    def _resync(self, region_id: str, wait: float) -> None:
        self._since_gap[region_id] = []
        self._resyncs[region_id] = asyncio.create_task(self._read_snapshot(region_id, wait))

    async def _read_snapshot(self, region_id: str, wait: float) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(wait)
            try:
                snapshot = await self._api.snapshot(USER_ID, ROLES, region_id)
                break
            except NETWORK_ERRORS as error:
                self._note("snapshot", error)
                attempt += 1
                wait = retry_delay(attempt, LONGEST_RETRY_SECONDS, self._random)
        was_stale = self._is_stale(region_id)
        self._board.take_snapshot(snapshot)
        del self._resyncs[region_id]
        for message in self._since_gap.pop(region_id):  # arrived while the snapshot was read
            _, has_gap = self._board.take_message(message)
            if has_gap:
                self._resync(region_id, wait=self._random.uniform(0, RESYNC_SECONDS))
                return
        self._notice_stale(region_id, was_stale=was_stale)

    async def _cancel_resyncs(self) -> None:
        for task in self._resyncs.values():
            task.cancel()
        await asyncio.gather(*self._resyncs.values(), return_exceptions=True)
        self._resyncs.clear()
        self._since_gap.clear()

    def _lag(self, change: Transition) -> float | None:
        """How late a change is; None where that says nothing: from before we listened, or held back while stale."""
        self._measures.transitions += 1
        if change.status == "removed" or change.since_seconds < self._current_since.get(change.region_id, math.inf):
            return None
        if change.status == "online":
            return self._measures.online_announced(change.facility_id, change.since)
        return self._measures.offline_announced(change.since_seconds)

    def _notice_stale(self, region_id: str, *, was_stale: bool) -> None:
        is_stale = self._is_stale(region_id)
        if is_stale:
            self._current_since.pop(region_id, None)
        else:
            self._current_since.setdefault(region_id, time.time())
        if is_stale != was_stale:
            self._on_stale(region_id, is_stale)

    def _note(self, what: str, error: Exception) -> None:
        logger.debug("%s: %s", what, error)
        self._measures.problems[
            f"{what}: {error.status if isinstance(error, RefusedError) else type(error).__name__}"
        ] += 1

    def _is_stale(self, region_id: str) -> bool:
        region = self._board.regions.get(region_id)
        return region is not None and region.stale
