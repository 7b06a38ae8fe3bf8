"""pulse.js against the real system: heartbeats, their end and return, and live regions."""

import asyncio
import json
import re
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Request, Response, Route, WebSocketRoute

from emulators.stack import Stack
from tests.browser.conftest import BLANK, TTL_SECONDS, Window, until, when
from tests.browser.people import People

HEARTBEATS = re.compile(r"/api/heartbeat$")
ONLY_HEARTBEATS = "{ regions: false }"


class Calls:
    """The heartbeats that a browser sends, from pages and workers."""

    def __init__(self, context: BrowserContext) -> None:
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        context.on("request", self._sent)
        context.on("response", self._answered)

    def _sent(self, request: Request) -> None:
        if self._is_one(request):
            self.requests.append(request)

    def _answered(self, response: Response) -> None:
        if self._is_one(response.request):
            self.statuses.append(response.status)

    @staticmethod
    def _is_one(request: Request) -> bool:
        return HEARTBEATS.search(request.url) is not None

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.post_data or "{}") for request in self.requests]


async def state(page: Page, which: str, value: str) -> None:
    """Returns when `pulse.connection` is in a state."""
    await when(page, f"window.pulse?.connection.{which} === {json.dumps(value)}")


async def test_a_browser_that_beats_brings_its_facility_online(window: Window, people: People) -> None:
    page = await window.page()
    calls = Calls(page.context)
    await window.pulse(page, "u-2")
    await state(page, "heartbeat", "on")
    await state(page, "state", "live")
    await when(page, "pulse.facility('f-2')?.status === 'online'")
    await until(lambda: len(calls.statuses) >= 3)
    assert set(calls.statuses) == {202}
    session_id = await page.evaluate("pulse.sessionId")
    assert {body["sessionId"] for body in calls.bodies} == {session_id}
    workers = [worker.url for worker in page.workers]
    assert len(workers) == 1
    assert workers[0].endswith("/pulse/worker.js")


async def test_a_closed_page_says_that_it_leaves(window: Window, people: People) -> None:
    page = await window.page()
    await window.pulse(page, "u-3", ONLY_HEARTBEATS)
    await state(page, "heartbeat", "on")
    await until_status(people, "f-3", "online")
    await page.close(run_before_unload=True)
    assert (await until_status(people, "f-3", "offline"))["reason"] == "left"


async def test_a_reload_does_not_flap(window: Window, people: People) -> None:
    page = await window.page()
    calls = Calls(page.context)
    await window.pulse(page, "u-4", ONLY_HEARTBEATS)
    await state(page, "heartbeat", "on")
    before = await until_status(people, "f-4", "online")
    for _ in range(2):
        await window.pulse(page, "u-4", ONLY_HEARTBEATS)
        await state(page, "heartbeat", "on")
    sent = len(calls.bodies)
    await until(lambda: len(calls.bodies) > sent + 1)
    assert len({body["sessionId"] for body in calls.bodies}) == 1
    assert (await people.facility("f-4"))["version"] == before["version"]


async def test_tabs_of_one_browser_are_one_session_and_one_beats_for_all(window: Window, people: People) -> None:
    context = await window.context()
    calls = Calls(context)
    first, second = await context.new_page(), await context.new_page()
    await window.pulse(first, "u-5", ONLY_HEARTBEATS)
    await state(first, "heartbeat", "on")
    await window.pulse(second, "u-5", ONLY_HEARTBEATS)
    await state(second, "heartbeat", "standby")
    facility = await until_status(people, "f-5", "online")
    assert facility["sessions"] == 1
    await first.close(run_before_unload=True)
    await state(second, "heartbeat", "on")
    sent = len(calls.bodies)
    await until(lambda: len(calls.bodies) > sent + 2)
    assert len({body["sessionId"] for body in calls.bodies}) == 1
    after = await people.facility("f-5")
    assert (after["status"], after["version"]) == ("online", facility["version"])


@pytest.mark.parametrize("turn", ["", "await null;"], ids=["at once", "before the worker runs"])
async def test_a_facility_that_a_tab_sets_as_it_begins_holds_for_the_tab_that_beats(window: Window, turn: str) -> None:
    context = await window.context()
    calls = Calls(context)
    first, second = await context.new_page(), await context.new_page()
    await window.pulse(first, "u-5", ONLY_HEARTBEATS)
    await state(first, "heartbeat", "on")
    await window.pulse(second, "u-5", "{ regions: false, heartbeat: false }")
    begin = f"const it = start({ONLY_HEARTBEATS}); {turn} it.setFacility('f-5');"
    await second.evaluate(f"async () => {{ {begin} }}")
    await state(second, "heartbeat", "standby")
    await until(lambda: calls.bodies[-1].get("facilityId") == "f-5")
    assert await second.evaluate("pulse.connection.heartbeat") == "standby"


async def test_what_a_tab_sets_after_its_session_was_ended_holds_for_the_tabs_of_the_next(
    window: Window, people: People
) -> None:
    context = await window.context()
    calls = Calls(context)
    first, second = await context.new_page(), await context.new_page()
    for page, heartbeat in ((first, "on"), (second, "standby")):
        await window.pulse(page, "u-5")
        await state(page, "state", "live")
        await state(page, "heartbeat", heartbeat)
    session_id = await first.evaluate("pulse.sessionId")
    assert (await people.call("DELETE", f"/sessions/u-5/{session_id}", "u-5"))[0] == 204
    for page in (first, second):
        await state(page, "heartbeat", "ended")
    await second.evaluate("pulse.setFacility('f-5'); pulse.setStatus('busy')")
    await first.evaluate("pulse.restart()")
    await state(first, "heartbeat", "on")
    await second.evaluate("pulse.restart()")
    await state(second, "heartbeat", "standby")
    await until(lambda: any(body.get("agentStatus") == "busy" for body in calls.bodies))
    await until(lambda: calls.bodies[-1].get("facilityId") == "f-5" and "agentStatus" not in calls.bodies[-1])
    assert await first.evaluate("pulse.sessionId") == await second.evaluate("pulse.sessionId") != session_id


async def test_tabs_may_be_sessions_of_their_own(window: Window, people: People) -> None:
    context = await window.context()
    first, second = await context.new_page(), await context.new_page()
    for page in (first, second):
        await window.pulse(page, "u-6", '{ regions: false, tabs: "separate" }')
        await state(page, "heartbeat", "on")
    assert await first.evaluate("pulse.sessionId") != await second.evaluate("pulse.sessionId")
    await until_status(people, "f-6", "online", sessions=2)


async def test_a_copy_of_a_tab_begins_its_own_session(window: Window) -> None:
    """A browser copies the tab's storage along; both would beat as one."""
    context = await window.context()
    first, copy = await context.new_page(), await context.new_page()
    await window.pulse(first, "u-6", '{ regions: false, tabs: "separate" }')
    await state(first, "heartbeat", "on")
    stored = await first.evaluate("JSON.stringify(sessionStorage)")
    await copy.goto(f"{window.stack.addresses.dashboard}/{BLANK}")
    await copy.evaluate("(stored) => Object.assign(sessionStorage, JSON.parse(stored))", stored)
    await window.pulse(copy, "u-6", '{ regions: false, tabs: "separate" }')
    await state(copy, "heartbeat", "on")
    assert await first.evaluate("pulse.sessionId") != await copy.evaluate("pulse.sessionId")


async def test_a_status_is_told_with_a_heartbeat_also_by_a_tab_that_waits(window: Window) -> None:
    context = await window.context()
    calls = Calls(context)
    first, second = await context.new_page(), await context.new_page()
    for page in (first, second):
        await window.pulse(page, "u-7", ONLY_HEARTBEATS)
    await state(first, "heartbeat", "on")
    await state(second, "heartbeat", "standby")
    await second.evaluate("pulse.setStatus('busy')")
    await until(lambda: any(body.get("agentStatus") == "busy" for body in calls.bodies))
    await first.evaluate("pulse.setFacility('f-7')")
    await until(lambda: any(body.get("facilityId") == "f-7" for body in calls.bodies))
    await state(second, "heartbeat", "standby")
    with pytest.raises(Exception, match="one of available, busy, away"):
        await first.evaluate("pulse.setStatus('asleep')")


async def test_a_status_set_at_once_is_told_with_the_first_heartbeat(window: Window) -> None:
    context = await window.context()
    calls = Calls(context)
    first, second = await context.new_page(), await context.new_page()
    await window.pulse(first, "u-7", "{ regions: false, heartbeat: false }")
    await first.evaluate("start({ regions: false }).setStatus('away')")
    await state(first, "heartbeat", "on")
    assert calls.bodies[0]["agentStatus"] == "away"
    await window.pulse(second, "u-7", "{ regions: false, heartbeat: false }")
    await second.evaluate("start({ regions: false }).setStatus('busy')")
    await until(lambda: any(body.get("agentStatus") == "busy" for body in calls.bodies))
    await until(lambda: "agentStatus" not in calls.bodies[-1])


async def test_a_token_is_renewed_before_it_lapses(window: Window) -> None:
    page = await window.page()
    calls = Calls(page.context)
    await window.pulse(page, "u-8", expiresIn=5)
    await state(page, "state", "live")
    await when(page, "window.asked.filter(({ fresh }) => fresh).length >= 2")
    assert set(calls.statuses) == {202}
    assert (await page.evaluate("window.asked"))[0] == {"fresh": False}


async def test_a_refused_token_is_replaced_once(window: Window) -> None:
    page = await window.page()
    calls = Calls(page.context)
    await window.pulse(page, "u-8", "{ regions: false, heartbeat: false }")
    await page.evaluate(
        """() => {
            const getToken = async ({ fresh }) => {
                window.asked.push({ fresh });
                if (!fresh) return "refused";
                const headers = { "Content-Type": "application/json" };
                const answer = await fetch(IDENTITY + "/token", { method: "POST", headers, body: '{"sub":"u-8"}' });
                return (await answer.json()).access_token;
            };
            start({ regions: false, getToken });
        }""".replace("IDENTITY", json.dumps(window.stack.addresses.identity))
    )
    await state(page, "heartbeat", "on")
    assert calls.statuses[:2] == [401, 202]
    assert [asked["fresh"] for asked in await page.evaluate("window.asked")] == [False, True]


async def test_what_the_server_asks_to_wait_is_waited(window: Window) -> None:
    context = await window.context()
    calls = Calls(context)

    async def refuse(route: Route) -> None:
        body = json.dumps({"title": "Too many requests", "code": "too-many-requests"})
        await route.fulfill(
            status=429, headers={"Retry-After": "2"}, content_type="application/problem+json", body=body
        )

    await context.route(HEARTBEATS, refuse)
    page = await context.new_page()
    await window.pulse(page, "u-9", ONLY_HEARTBEATS)
    await state(page, "heartbeat", "failing")
    assert await page.evaluate("pulse.connection.heartbeatError.code") == "too-many-requests"
    started = asyncio.get_running_loop().time()
    await until(lambda: len(calls.requests) >= 2)
    assert asyncio.get_running_loop().time() - started > 1.5
    await context.unroute(HEARTBEATS)
    await state(page, "heartbeat", "on")


async def test_a_page_that_the_browser_keeps_aside_goes_on_when_it_is_shown_again(
    window: Window, people: People
) -> None:
    page = await window.page()
    await window.pulse(page, "u-10")
    await state(page, "state", "live")
    await until_status(people, "f-10", "online")
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    await state(page, "heartbeat", "paused")
    assert (await until_status(people, "f-10", "offline"))["reason"] == "left"
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await state(page, "heartbeat", "on")
    await when(page, "pulse.facility('f-10')?.status === 'online'")


async def test_closing_ends_everything(window: Window, people: People) -> None:
    page = await window.page()
    calls = Calls(page.context)
    await window.pulse(page, "u-11")
    await state(page, "state", "live")
    await state(page, "heartbeat", "on")
    await page.evaluate("pulse.close(); pulse.close()")
    assert (await until_status(people, "f-11", "offline"))["reason"] == "left"
    assert calls.bodies[-1]["leaving"] is True
    assert await page.evaluate("pulse.connection.state") == "closed"
    await until(lambda: page.workers == [])


async def test_a_missing_message_is_noticed_and_read_after(window: Window, people: People) -> None:
    page = await window.page()
    dropped: list[str] = []

    def pass_on(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def from_server(message: str | bytes) -> None:
            if not dropped and "f-12" in str(message):
                dropped.append(str(message))
            else:
                socket.send(message)

        server.on_message(from_server)

    await page.route_web_socket(re.compile("/client/hubs/"), pass_on)
    await window.pulse(page, "u-1", "{ heartbeat: false }")
    await state(page, "state", "live")
    await asyncio.sleep(3.5)  # the second look after opening, which would find it as well
    reads: list[str] = []
    page.on("request", lambda request: reads.extend([request.url] if "/regions/" in request.url else []))
    await people.come("u-12")
    await until(lambda: bool(dropped))
    assert await page.evaluate("pulse.facility('f-12').status") == "offline"
    assert reads == []
    await people.come("u-13")
    await when(page, "pulse.facility('f-13').status === 'online'")
    await when(page, "pulse.facility('f-12').status === 'online'")
    assert len(reads) == 1


async def test_calls_that_fail_for_two_intervals_make_it_stale(window: Window, stack: Stack) -> None:
    page = await window.page()
    await window.pulse(page, "u-14")
    await state(page, "heartbeat", "on")
    await stack.stop("host-1")
    try:
        await when(page, "pulse.stale.stale && pulse.stale.source === 'client'")
        since = await page.evaluate("Date.parse(pulse.stale.since) - Date.now()")
        assert since < -2_000
        assert await page.evaluate("pulse.connection.heartbeat") == "failing"
    finally:
        await stack.start("host-1")
        await stack.wait_until_healthy()
    await when(page, "pulse.stale.source !== 'client'", 60)
    stale = [event for kind, event in await page.evaluate("events") if kind == "stale"]
    assert [event["stale"] for event in stale if event["source"] == "client"] == [True, False]


async def test_a_lost_live_connection_comes_back_and_misses_nothing(
    window: Window, stack: Stack, people: People
) -> None:
    page = await window.page()
    await window.pulse(page, "u-1", "{ heartbeat: false }")
    await state(page, "state", "live")
    await stack.kill("web-pubsub")
    await state(page, "state", "reconnecting")
    await people.come("u-15")
    await stack.start("web-pubsub")
    await state(page, "state", "live")
    await when(page, "pulse.facility('f-15').status === 'online'")


async def test_the_network_goes_and_comes(window: Window, people: People) -> None:
    page = await window.page()
    await window.pulse(page, "u-16")
    await state(page, "state", "live")
    await page.context.set_offline(True)
    await state(page, "heartbeat", "failing")
    await until_status(people, "f-16", "offline")
    await page.context.set_offline(False)
    await state(page, "heartbeat", "on")
    await when(page, "pulse.facility('f-16')?.status === 'online' && pulse.connection.state === 'live'")


async def test_without_a_worker_the_page_beats_itself(window: Window, people: People) -> None:
    page = await window.page()
    await page.add_init_script("window.Worker = class { constructor() { throw new Error('refused'); } };")
    await window.pulse(page, "u-17", ONLY_HEARTBEATS)
    await state(page, "heartbeat", "on")
    await until_status(people, "f-17", "online")


async def test_wrong_options_are_refused_with_the_reason(window: Window) -> None:
    page = await window.page()
    await window.pulse(page, "u-1", "{ regions: false, heartbeat: false }")
    for options, message in (
        ("undefined", "api must be"),
        ("{ api: '..' }", "getToken must be"),
        ("{ api: '..', getToken() {}, tabs: 'some' }", "tabs must be"),
    ):
        said = await page.evaluate(
            f"import('./pulse.js').then(({{ connect }}) => connect({options})).catch(({{ message }}) => message)"
        )
        assert message in said


async def until_status(people: People, facility_id: str, status: str, **also: object) -> dict[str, Any]:
    """Returns the facility once the API shows it so."""
    wanted = {"status": status, **also}
    for _ in range(10 * (TTL_SECONDS + 12)):
        facility = await people.facility(facility_id)
        if wanted.items() <= facility.items():
            return facility
        await asyncio.sleep(0.1)
    raise AssertionError(f"{facility_id} is {facility}, not {wanted}")
