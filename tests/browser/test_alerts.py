"""Alerts on the dashboard, in a stack of its own that tells them soon."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from emulators.stack import Stack
from tests.browser.conftest import SETTINGS, Window, when
from tests.browser.people import People
from tests.browser.test_accessibility import PHONE, violations

BOSS = "boss"
"""Belongs to no facility, so that none goes offline with a page that is closed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alerting(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings = {**SETTINGS, "ALERT_AFTER_SECONDS": "2", "ALERT_COOLDOWN_SECONDS": "1"}
    async with Stack(tmp_path_factory.mktemp("alerting"), settings) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, alerting: Stack) -> AsyncIterator[Window]:
    window = Window(browser, alerting)
    yield window
    for context in window.contexts:
        await context.close()
    assert window.errors == []


@pytest_asyncio.fixture(loop_scope="session")
async def people(alerting: Stack) -> AsyncIterator[People]:
    async with People(alerting) as people:
        yield people


def alert(page: Page, facility_id: str) -> Locator:
    return page.locator(f'.alert[data-facility="{facility_id}"]')


async def goes(people: People, *user_ids: str) -> None:
    """Has somebody come to each facility and leave it."""
    for user_id in user_ids:
        await people.beat(user_id, "gone")
        await people.beat(user_id, "gone", leaving=True)


async def test_many_alerts_leave_room_and_can_be_waved_away(window: Window, people: People) -> None:
    page = await window.dashboard(BOSS, admin=True, viewport=PHONE)
    await goes(people, "u-36", "u-37", "u-38")
    await expect(page.locator(".alert")).to_have_count(3)
    await expect(page.locator(".alert:visible")).to_have_count(1)
    await page.get_by_role("button", name="Show 2 more").click()
    await expect(page.locator(".alert:visible")).to_have_count(3)
    await alert(page, "f-37").get_by_role("button", name="Dismiss").click()
    await expect(page.locator(".alert")).to_have_count(2)
    assert await page.evaluate("document.activeElement.closest('.alert') !== null")
    await page.get_by_role("button", name="Dismiss all").click()
    await expect(page.locator(".alert")).to_have_count(0)
    assert await page.evaluate("document.activeElement.id") == "main"
    await expect(page.locator("body")).to_have_js_property("scrollWidth", PHONE["width"])


async def test_an_alert_names_the_facility_and_goes_with_its_recovery(window: Window, people: People) -> None:
    page = await window.dashboard(BOSS, admin=True, reduced_motion="reduce")
    await expect(page.get_by_role("log", name="Alerts")).to_be_empty()
    await goes(people, "u-39")
    told = alert(page, "f-39")
    await expect(told).to_contain_text("offline since")
    facility = await people.facility("f-39")
    await expect(told.get_by_role("link")).to_have_text(facility["name"])
    await expect(told.locator("time")).to_have_attribute("datetime", facility["since"])
    assert await violations(page) == []

    await told.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(facility["name"])
    await expect(told).to_be_visible()
    await page.evaluate(
        "() => { const real = setTimeout; window.setTimeout = (run, ms) => real(run, ms === 30000 ? 2000 : ms); }"
    )
    await people.come("u-39")
    await expect(told).to_contain_text("online again since")
    await expect(told).to_have_count(0)


async def test_an_application_is_told_too(window: Window, people: People) -> None:
    page = await window.page()
    await window.pulse(page, "u-1", "{ heartbeat: false }")
    await when(page, "window.pulse?.connection.state === 'live'")
    alerts = "events.filter(([kind, event]) => kind === 'alert' && event.facilityId === 'f-3')"
    await goes(people, "u-3")
    await when(page, f"{alerts}.length === 1")
    await people.come("u-3")
    await when(page, f"{alerts}.length === 2")
    told = [event for _, event in await page.evaluate(alerts)]
    assert [each["state"] for each in told] == ["offline", "recovered"]
    assert {each["regionId"] for each in told} == {"r-1"}
    assert told[1]["since"] == (await people.facility("f-3"))["since"]
