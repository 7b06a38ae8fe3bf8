"""One run of the simulator: the seats, the outages, the live feed and the view, until it is stopped."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from emulators.simulator.api import Api
from emulators.simulator.board import Board, Transition
from emulators.simulator.feed import Feed
from emulators.simulator.front_end import FrontEnd, Network
from emulators.simulator.lives import Pace, outages
from emulators.simulator.measures import Measures
from emulators.simulator.people import Person, read_people, seat_people
from emulators.simulator.view import REFRESHES_PER_SECOND, LiveView, Picture, PlainView, View, describe

CONNECTIONS = 200
LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send the heartbeats."""

    api: str
    identity: str
    dashboard: str


@dataclass(frozen=True, slots=True)
class Options:
    """What to play and how to show it; times in seconds."""

    sessions: int
    duration: float | None
    seed: str
    pace: Pace
    outage_every_seconds: float
    outage_seconds: float
    directory: Path
    is_plain: bool
    has_notices: bool


class Run:
    """Everything of one run."""

    def __init__(self, options: Options, target: Target) -> None:
        self._options = options
        self._target = target
        self._measures = Measures()
        self._network = Network()
        self._board = Board()
        picture = Picture(target.dashboard, options.seed, self._board, self._measures)
        console = Console()
        is_live = console.is_terminal and not options.is_plain
        self._view: View = LiveView(picture, console) if is_live else PlainView(picture)
        self._picture = picture
        self._seats: list[FrontEnd] = []

    async def play(self) -> None:
        """Returns on SIGINT, SIGTERM or SIGHUP, after `duration`, or when stdin ends that brings notices."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        if self._options.duration is not None:
            loop.call_later(self._options.duration, stopped.set)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(work) for work in self._work(session)]
                    if self._options.has_notices:
                        tasks.append(group.create_task(self._show_notices(stopped)))
                    await stopped.wait()
                    for task in tasks:
                        task.cancel()
                await self._leave()
        finally:
            self._view.close()

    def _work(self, session: aiohttp.ClientSession) -> Iterator[Coroutine[None, None, None]]:
        options = self._options
        api = Api(session, self._target.api, self._target.identity)
        people = read_people(options.directory)
        for seat, person in enumerate(seat_people(people, options.sessions, options.seed)):
            front_end = FrontEnd(api, person, self._network, self._measures, options.seed, seat)
            self._seats.append(front_end)
            yield front_end.play(options.pace)
        if options.outage_every_seconds > 0:
            yield self._play_outages(people)
        feed = Feed(
            session, api, self._board, self._measures, on_transition=self._show_transition, on_stale=self._show_stale
        )
        yield feed.follow()
        yield self._refresh(feed)

    async def _leave(self) -> None:
        """Has everybody say that they leave: sessions that just stopped would look like an outage to the next run."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(seat.leave() for seat in self._seats), return_exceptions=True)

    async def _play_outages(self, people: list[Person]) -> None:
        options = self._options
        facilities = sorted({facility for person in people for facility in person.facility_ids})
        planned = outages(options.seed, facilities, options.outage_every_seconds, options.outage_seconds)
        async for outage in self._network.play(planned):
            self._view.event(f"{outage.facility_id:<8} is cut off from the network for {outage.seconds:.0f} s")

    async def _refresh(self, feed: Feed) -> None:
        while True:
            self._picture.is_connected = feed.is_connected
            self._view.refresh()
            self._measures.forget_old()
            await asyncio.sleep(1 / REFRESHES_PER_SECOND)

    async def _show_notices(self, stopped: asyncio.Event) -> None:
        """Shows what the starter tells, until it has no more to tell: then it is gone."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self._view.event(line.decode(errors="replace").rstrip())
        stopped.set()

    def _show_transition(self, change: Transition, lag: float | None) -> None:
        self._view.event(describe(change, lag))

    def _show_stale(self, region_id: str, is_stale: bool) -> None:
        self._view.event(f"{region_id:<8} {'STALE: its states may be out of date' if is_stale else 'is current again'}")
