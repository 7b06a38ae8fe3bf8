"""The agents panel in two windows: what one administrator does, the other sees."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import Locator, Page, Response, WebSocketRoute, expect

from tests.browser.conftest import Window, sign_in, until, when
from tests.browser.people import People


async def panel(window: Window, user_id: str = "u-1") -> Page:
    page = await window.dashboard(user_id, admin=True)
    await page.get_by_role("link", name="Agents").click()
    await expect(page.locator(".summary")).to_contain_text("signed in")
    return page


def agent(page: Page, user_id: str) -> Locator:
    return page.locator(f'tr[data-user="{user_id}"]')


async def test_agents_come_and_go(window: Window, people: People) -> None:
    page = await panel(window)
    await expect(agent(page, "u-20")).to_have_count(0)
    session_id = await people.come("u-20")
    await expect(agent(page, "u-20")).to_contain_text(session_id)
    await expect(agent(page, "u-20").get_by_role("link")).to_have_text("Birchmoor Care Home")
    await people.fall_silent("u-20")
    await expect(agent(page, "u-20")).to_have_count(0)


async def test_a_changed_status_is_seen_in_a_second_window(window: Window, people: People) -> None:
    await people.come("u-21")
    one, other = await panel(window), await panel(window, "u-2")
    await expect(agent(other, "u-21").locator("select")).to_have_value("available")
    await agent(one, "u-21").locator("select").select_option("busy")
    await expect(agent(other, "u-21").locator("select")).to_have_value("busy")
    status, listed = await people.call("GET", "/agents?status=busy", "admin", admin=True)
    assert status == 200
    assert "u-21" in [item["userId"] for item in listed["items"]]
    await one.get_by_label("Status", exact=True).select_option("busy")
    await expect(agent(one, "u-21")).to_have_count(1)
    await one.get_by_label("Status", exact=True).select_option("away")
    await expect(agent(one, "u-21")).to_have_count(0)


async def test_filters_by_region_and_facility(window: Window, people: People) -> None:
    await people.come("u-22")
    await people.come("u-3")
    page = await panel(window)
    await expect(agent(page, "u-22")).to_have_count(1)
    await page.get_by_label("Region", exact=True).select_option("r-2")
    await expect(agent(page, "u-3")).to_have_count(0)
    await expect(agent(page, "u-22")).to_have_count(1)
    await page.get_by_label("Facility", exact=True).select_option("f-23")
    await expect(agent(page, "u-22")).to_have_count(0)
    await page.get_by_label("Facility", exact=True).select_option("f-22")
    await expect(agent(page, "u-22")).to_have_count(1)


async def test_a_session_is_ended_after_a_question_and_everybody_sees_it(window: Window, people: People) -> None:
    theirs = await window.page()
    await window.pulse(theirs, "u-24")
    await when(theirs, "window.pulse?.connection.heartbeat === 'on'")
    session_id = await theirs.evaluate("pulse.sessionId")
    one, other = await panel(window), await panel(window, "u-2")
    await expect(agent(other, "u-24")).to_contain_text(session_id)
    end = agent(one, "u-24").get_by_role("button", name="End session")
    await end.click()
    dialog = one.get_by_role("dialog", name="End this session?")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(end).to_be_focused()
    await expect(agent(one, "u-24")).to_contain_text(session_id)
    await end.click()
    await dialog.get_by_role("button", name="End session").click()
    await expect(agent(one, "u-24")).to_have_count(0)
    await expect(agent(other, "u-24")).to_have_count(0)

    await when(theirs, "pulse.connection.heartbeat === 'ended'")
    told = [event for kind, event in await theirs.evaluate("events") if kind == "sessionEnded"]
    assert told == [{"sessionId": session_id, "reason": "ended", "isOwn": True}]
    await theirs.evaluate("pulse.restart()")
    await when(theirs, "pulse.connection.heartbeat === 'on'")
    assert await theirs.evaluate("pulse.sessionId") != session_id
    await expect(agent(other, "u-24")).to_have_count(1)


async def test_a_browser_that_is_told_by_its_heartbeat_alone_stops_too(window: Window, people: People) -> None:
    page = await window.page()
    await window.pulse(page, "u-25", "{ regions: false }")
    await when(page, "window.pulse?.connection.heartbeat === 'on'")
    session_id = await page.evaluate("pulse.sessionId")
    assert (await people.call("DELETE", f"/sessions/u-25/{session_id}", "u-25"))[0] == 204
    await when(page, "pulse.connection.heartbeat === 'ended'")
    sent: list[str] = []
    page.context.on("request", lambda request: sent.extend([request.url] if "heartbeat" in request.url else []))
    await asyncio.sleep(2.5)
    assert sent == []


async def test_ones_own_status_and_the_end_of_ones_own_session(window: Window, people: People) -> None:
    page = await window.dashboard("u-26")
    await page.get_by_role("button", name="status and settings").click()
    await page.get_by_role("radio", name="Busy").check()
    other = await panel(window)
    await expect(agent(other, "u-26").locator("select")).to_have_value("busy")
    await agent(other, "u-26").get_by_role("button", name="End session").click()
    await other.get_by_role("dialog").get_by_role("button", name="End session").click()
    await expect(page.locator("#banner")).to_contain_text("ended by an administrator")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Start a new session").click()
    await expect(page.locator("#banner")).to_be_hidden()
    await expect(agent(other, "u-26")).to_have_count(1)


async def test_a_chosen_status_is_not_undone_by_what_was_on_its_way_and_outlives_a_reload(window: Window) -> None:
    page = await window.page()
    sockets: list[WebSocketRoute] = []
    held: list[str | bytes] = []

    def pass_on(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server().on_message(
            lambda message: held.append(message) if re.search('"busy"', str(message)) else socket.send(message)
        )

    await page.route_web_socket(re.compile("/client/hubs/"), pass_on)
    await sign_in(page, window.stack, "u-28")
    await expect(page.locator(".presence")).to_have_attribute("data-state", "on")
    await expect(page.locator(".connection")).to_have_text("Live")
    await asyncio.sleep(1.5)  # so that what comes late is newer than what the page knows, and older than the choice
    await page.get_by_role("button", name="status and settings").click()
    busy, away = page.get_by_role("radio", name="Busy"), page.get_by_role("radio", name="Away")
    late = datetime.now(UTC) - timedelta(seconds=1)
    await busy.check()
    data = {"type": "agent.status", "userId": "u-28", "agentStatus": "available", "since": late.isoformat()}
    sockets[-1].send(json.dumps({"type": "message", "from": "server", "dataType": "json", "data": data}))
    await until(lambda: bool(held))
    await expect(busy).to_be_checked()

    other = await panel(window)
    await expect(agent(other, "u-28").locator("select")).to_have_value("busy")
    await page.reload()
    await page.get_by_role("button", name="status and settings").click()
    await expect(busy).to_be_checked()
    await expect(page.locator(".presence")).to_have_attribute("data-state", "on")
    await expect(agent(other, "u-28").locator("select")).to_have_value("busy")
    await expect(page.locator(".connection")).to_have_text("Live")
    await agent(other, "u-28").locator("select").select_option("away")
    await expect(away).to_be_checked()


async def test_a_click_that_takes_its_time_is_not_lost_when_rows_come_above(window: Window, people: People) -> None:
    session_id = await people.come("u-29")
    page = await panel(window)
    end = agent(page, "u-29").get_by_role("button", name=f"End session {session_id}")
    await end.focus()
    await end.hover()
    await page.mouse.down()
    above = {"u-2", "u-3", "u-30"}
    for user_id in above:
        await people.come(user_id)

    async def tells_all(answer: Response) -> bool:
        return "/agents?" in answer.url and {each["userId"] for each in (await answer.json())["items"]} >= above

    for _ in range(20):
        if await tells_all(await page.wait_for_event("response")):
            break
    await expect(end).to_be_focused()
    await page.mouse.up()
    await expect(page.get_by_role("dialog", name="End this session?")).to_contain_text(session_id)
    for user_id in above:
        await expect(agent(page, user_id)).to_have_count(1)


async def test_a_new_session_moves_no_button_of_its_row(window: Window, people: People) -> None:
    session_id = await people.come("u-34")
    page = await panel(window)
    buttons = agent(page, "u-34").get_by_role("button", name="End session")
    await expect(buttons).to_have_accessible_name(re.compile(session_id))
    await people.come("u-34", "-sorts-first")
    await expect(buttons).to_have_count(2)
    await expect(buttons.first).to_have_accessible_name(re.compile(session_id))


async def test_the_panel_is_for_administrators(window: Window) -> None:
    page = await window.dashboard("u-27")
    await page.goto(f"{window.stack.addresses.dashboard}/#/agents")
    await expect(page.get_by_text("Only administrators see who is signed in.")).to_be_visible()
