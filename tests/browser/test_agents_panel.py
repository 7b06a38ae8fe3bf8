"""The agents panel in two windows: what one administrator does, the other sees."""

import asyncio

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Window, when
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


async def test_the_panel_is_for_administrators(window: Window) -> None:
    page = await window.dashboard("u-27")
    await page.goto(f"{window.stack.addresses.dashboard}/#/agents")
    await expect(page.get_by_text("Only administrators see who is signed in.")).to_be_visible()
