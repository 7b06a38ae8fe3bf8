"""Front-ends against an API that answers as the test wants."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import pytest

from emulators.simulator.api import Answer, Api
from emulators.simulator.front_end import FrontEnd, Network
from emulators.simulator.lives import Outage, Pace
from emulators.simulator.measures import Measures
from emulators.simulator.people import Person

ACCEPTED = Answer(202, {"intervalSeconds": 0.02, "ttlSeconds": 0.06, "receivedAt": "T"})
BRIEF = Pace(
    stay_seconds=0.1, away_seconds=0.01, first_arrivals_seconds=0.01, crash_share=0, reload_share=0, hidden_share=0
)


class ScriptedApi(Api):
    """Gives the answers in turn, then accepts everything; keeps the heartbeats."""

    def __init__(self, session: aiohttp.ClientSession, answers: Iterable[Answer | Exception] = ()) -> None:
        super().__init__(session, "http://unused/api", "http://unused")
        self.heartbeats: list[dict[str, Any]] = []
        self.moments: list[float] = []
        self.forgotten: list[str] = []
        self._answers = iter(answers)

    async def heartbeat(self, user_id: str, body: dict[str, Any]) -> Answer:
        self.heartbeats.append(dict(body))
        self.moments.append(asyncio.get_running_loop().time())
        answer = next(self._answers, ACCEPTED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget_token(self, user_id: str) -> None:
        self.forgotten.append(user_id)


class Seat:
    def __init__(
        self, *answers: Answer | Exception, pace: Pace = BRIEF, facilities: tuple[str, ...] = ("f-1",)
    ) -> None:
        self.answers = answers
        self.pace = pace
        self.person = Person("u-1", facilities)
        self.network = Network()
        self.measures = Measures()
        self.api: ScriptedApi

    async def play_until(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        async with aiohttp.ClientSession() as session, asyncio.timeout(10):
            self.api = ScriptedApi(session, self.answers)
            front_end = FrontEnd(self.api, self.person, self.network, self.measures, "seed", 0)
            playing = asyncio.create_task(front_end.play(self.pace))
            while not condition(self.api.heartbeats):
                await asyncio.sleep(0.005)
            playing.cancel()
            await asyncio.wait([playing])
        return self.api.heartbeats


def leaving(heartbeats: list[dict[str, Any]]) -> list[int]:
    return [index for index, heartbeat in enumerate(heartbeats) if heartbeat.get("leaving")]


async def test_a_front_end_beats_leaves_and_comes_back_as_a_new_session() -> None:
    heartbeats = await Seat().play_until(lambda sent: len({beat["sessionId"] for beat in sent}) == 3)
    first = [beat for beat in heartbeats if beat["sessionId"] == heartbeats[0]["sessionId"]]
    assert len(first) > 2
    assert leaving(first) == [len(first) - 1]


async def test_a_crash_is_silent() -> None:
    pace = Pace(0.05, 0.01, 0.01, crash_share=1, reload_share=0, hidden_share=0)
    heartbeats = await Seat(pace=pace).play_until(lambda sent: len({beat["sessionId"] for beat in sent}) == 4)
    assert leaving(heartbeats) == []


async def test_who_is_stopped_in_the_middle_of_a_session_can_leave() -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        api, network = ScriptedApi(session), Network()
        front_end = FrontEnd(api, Person("u-1", ("f-1",)), network, Measures(), "seed", 0)
        await front_end.leave()
        assert api.heartbeats == []
        playing = asyncio.create_task(front_end.play(Pace(30, 1, 0.01, 0, 0, 0)))
        while not api.heartbeats:
            await asyncio.sleep(0.005)
        playing.cancel()
        await asyncio.wait([playing])
        await front_end.leave()
    assert leaving(api.heartbeats) == [len(api.heartbeats) - 1]
    assert len({beat["sessionId"] for beat in api.heartbeats}) == 1


async def test_a_reload_leaves_and_returns_with_the_same_session() -> None:
    pace = Pace(0.1, 0.01, 0.01, crash_share=0, reload_share=1, hidden_share=0)
    heartbeats = await Seat(pace=pace).play_until(lambda sent: len(leaving(sent)) == 2)
    assert len({beat["sessionId"] for beat in heartbeats}) == 1


async def test_an_unavailable_server_is_tried_again() -> None:
    seat = Seat(
        ACCEPTED,
        Answer(503, None, retry_after=0.01),
        aiohttp.ClientConnectionError(),
        TimeoutError(),
        Answer(429, None),
        pace=Pace(30, 1, 0.01, 0, 0, 0),
    )
    heartbeats = await seat.play_until(lambda sent: len(sent) > 6)
    assert len({beat["sessionId"] for beat in heartbeats}) == 1
    assert seat.measures.problems == {
        **{"status 503": 1, "status 429": 1, "ClientConnectionError": 1, "TimeoutError": 1},
    }
    assert seat.measures.accepted >= 2


async def test_the_retry_after_of_an_answer_is_waited_for() -> None:
    seat = Seat(ACCEPTED, Answer(429, None, retry_after=0.4), pace=Pace(30, 1, 0.01, 0, 0, 0))
    await seat.play_until(lambda sent: len(sent) == 3)
    assert seat.api.moments[2] - seat.api.moments[1] >= 0.4


async def test_a_session_that_the_server_ended_is_not_continued() -> None:
    heartbeats = await Seat(ACCEPTED, Answer(410, None)).play_until(lambda sent: len(sent) > 3)
    assert heartbeats[1]["sessionId"] != heartbeats[2]["sessionId"]


async def test_an_expired_token_is_replaced() -> None:
    seat = Seat(Answer(401, None))
    await seat.play_until(lambda sent: len(sent) > 2)
    assert seat.api.forgotten == ["u-1"]
    assert seat.measures.accepted >= 1


async def test_nothing_gets_out_of_a_facility_during_its_outage() -> None:
    seat = Seat(pace=Pace(30, 0.01, 0.01, 0, 0, 0))
    heard_while_down: list[bool] = []

    async def play_outage() -> None:
        async for _ in seat.network.play(iter([Outage(start=0.1, seconds=0.4, facility_id="f-1")])):
            heard_before = len(seat.api.heartbeats)
            await seat.network.until_up("f-1")
            heard_while_down.append(len(seat.api.heartbeats) > heard_before)

    outage = asyncio.create_task(play_outage())
    heard_again = await seat.play_until(lambda sent: bool(heard_while_down) and len(sent) > 3)
    await outage
    assert heard_while_down == [False]
    assert len({beat["sessionId"] for beat in heard_again}) == 1


@pytest.mark.parametrize("facilities", [("f-1",), ("f-1", "f-2")])
async def test_a_facility_is_named_only_where_there_is_a_choice(facilities: tuple[str, ...]) -> None:
    seat = Seat(facilities=facilities, pace=Pace(0.01, 0.01, 0.01, 0, 0, 0))
    heartbeats = await seat.play_until(lambda sent: len({beat["sessionId"] for beat in sent}) == 20)
    named = {beat.get("facilityId") for beat in heartbeats}
    assert named == ({None} if len(facilities) == 1 else {None, "f-1"})
