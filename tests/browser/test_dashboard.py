"""The dashboard as people use it."""

import asyncio
import re

from playwright.async_api import Locator, Page, Route, expect

from emulators.stack import Stack
from tests.browser.conftest import Window, sign_in
from tests.browser.people import People


def badge(page: Page, facility_id: str) -> Locator:
    """The status in the list."""
    return page.locator(f'[data-key="f {facility_id}"] .badge')


async def test_a_demo_user_signs_in_and_sees_their_region(window: Window) -> None:
    page = await window.page()
    await page.goto(window.stack.addresses.dashboard)
    await page.get_by_role("button", name=re.compile("u-1$")).click()
    await expect(page.locator(".connection")).to_have_text("Live")
    await expect(page.locator(".region-name")).to_have_text(["Northern Lakes"])
    await expect(page.get_by_role("heading", name="Facilities", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="Agents")).to_have_count(0)
    # Who looks is there: this very browser is their session.
    await expect(badge(page, "f-1")).to_have_text("Online")


async def test_a_facility_comes_online_as_another_client_beats_and_goes_offline_after_its_ttl(
    window: Window, people: People
) -> None:
    page = await window.dashboard("u-1", admin=True)
    await page.get_by_label("Search facilities").fill("f-31")
    await expect(badge(page, "f-31")).to_have_text("Never online")
    await people.come("u-31")
    await expect(badge(page, "f-31")).to_have_text("Online")
    await people.fall_silent("u-31")
    await expect(badge(page, "f-31")).to_have_text("Offline")
    await expect(page.locator('[data-key="f f-31"] .cell-reason')).to_have_text("went silent")
    await expect(page.locator(".feed li").first).to_contain_text("Offline")


async def test_search_filters_and_keys(window: Window, people: People) -> None:
    await people.come("u-32")
    page = await window.dashboard("u-1", admin=True)
    await page.keyboard.press("/")
    await page.keyboard.type("dunmore f-32")
    await expect(page.locator(".row.facility")).to_have_count(1)
    await expect(page.locator("#announcer")).to_have_text("1 facility shown")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("dunmore")
    await expect(page.locator(".row.facility")).to_have_count(10)
    await page.get_by_role("radio", name="Online", exact=True).check()
    await expect(page.locator(".row.facility")).to_have_count(1)
    await page.get_by_role("radio", name="All", exact=True).check()
    links = page.locator(".row.facility a")
    await links.first.focus()
    await page.keyboard.press("ArrowDown")
    await expect(links.nth(1)).to_be_focused()
    await page.keyboard.press("End")
    await expect(links.last).to_be_focused()
    name = await links.last.text_content()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(name or "")
    await page.get_by_role("link", name="All facilities").click()
    await page.get_by_label("Search facilities").fill("no such place")
    await expect(page.get_by_text("No facility matches.")).to_be_visible()


async def test_one_region_is_chosen(window: Window) -> None:
    page = await window.dashboard("u-1", admin=True)
    await page.get_by_role("button", name="Southern Coast").click()
    await expect(page.locator(".row.group bdi:first-child").first).to_have_text("Southern Coast")
    await expect(page.locator("#announcer")).to_have_text("20 facilities shown")
    await page.get_by_role("button", name="Southern Coast").click()
    await expect(page.locator("#announcer")).to_have_text("60 facilities shown")


async def test_counties_have_their_names_and_are_found_by_them(window: Window) -> None:
    page = await window.dashboard("u-1", admin=True)
    await page.get_by_label("Search facilities").fill("dunmore")
    await expect(page.locator(".row.group bdi").nth(1)).to_have_text("Dunmore")
    await expect(page.locator("#announcer")).to_have_text("10 facilities shown")
    await page.get_by_label("Search facilities").fill("c-4")
    await expect(page.locator(".row.group bdi").nth(1)).to_have_text("Dunmore")
    await page.locator(".row.facility a").first.click()
    await expect(page.locator(".facility-head .quiet")).to_contain_text("Central Valley · Dunmore · f-")


async def test_a_county_without_a_name_is_shown_by_its_id(window: Window) -> None:
    page = await window.page()

    async def refuse(route: Route) -> None:
        await route.fulfill(status=404, content_type="application/problem+json", body="{}")

    await page.route(re.compile(r"/api/regions/[^/]+/counties$"), refuse)
    await sign_in(page, window.stack, "u-1")
    await expect(page.locator(".row.group bdi").nth(1)).to_have_text("c-1")


async def test_a_facilitys_page_is_live(window: Window, people: People) -> None:
    page = await window.dashboard("u-1", admin=True)
    await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/f-33")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Dunmore Children's Clinic")
    await expect(page.locator(".now .badge")).to_have_text("Never online")
    await people.come("u-33")
    await expect(page.locator(".now .badge")).to_have_text("Online")
    await expect(page.locator("#announcer")).to_have_text("Dunmore Children's Clinic: Online")
    first = await page.locator(".now-since").text_content()
    await expect(page.locator(".now-since")).not_to_have_text(first or "")


async def test_a_facilitys_past_is_drawn_and_told_in_words(window: Window, people: People) -> None:
    page = await window.dashboard("u-1", admin=True)
    await people.come("u-40")
    await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/f-40")
    await expect(page.locator(".now .badge")).to_have_text("Online")
    await people.fall_silent("u-40")
    await expect(page.locator(".now .badge")).to_have_text("Offline")
    await expect(page.locator(".now")).to_contain_text("went silent")
    await expect(page.locator(".timeline rect.is-online title")).to_contain_text("Online")
    await expect(page.locator(".timeline rect.is-offline")).to_have_count(1)
    rows = page.get_by_role("region", name=re.compile("^Changes")).locator("tbody tr")
    await expect(rows).to_contain_text(["went silent", "signed in"])
    # What SQL has by now, after the monitor's next run.
    await asyncio.sleep(3)
    await page.reload()
    await expect(rows).to_contain_text(["went silent", "signed in"])
    await expect(page.locator("dd").nth(2)).to_have_text(re.compile(r"^\d+\.\d %$"))
    for title in ("Time online", "Heartbeats", "Sessions started"):
        drawing = page.get_by_role("img", name=re.compile(f"^{title}: "))
        await expect(drawing.locator("rect[height='0']")).not_to_have_count(await drawing.locator("rect").count())
        await expect(drawing).not_to_have_attribute("aria-label", f"{title}: none")
    await page.get_by_role("radio", name="Last 24 hours").check()
    await expect(page.get_by_text("Uptime, 24 h")).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile("^People: "))).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile("^Last 24 hours: online .* 2 changes"))).to_be_visible()


async def test_stopped_hosts_are_told_by_the_page_itself(window: Window, stack: Stack) -> None:
    page = await window.dashboard("u-1", admin=True)
    await expect(page.locator("#banner")).to_be_hidden()
    await stack.stop("host-1")
    try:
        await expect(page.locator("#banner")).to_contain_text("may be outdated")
        await expect(page.locator(".connection")).not_to_have_text("Live")
    finally:
        await stack.start("host-1")
        await stack.wait_until_healthy()
    await expect(page.locator("#banner")).to_be_hidden(timeout=60_000)
    await expect(page.locator(".connection")).to_have_text("Live")


async def test_a_lost_network_is_shown_and_overcome(window: Window, people: People) -> None:
    page = await window.dashboard("u-1", admin=True)
    await page.context.set_offline(True)
    await expect(page.locator("#banner")).to_contain_text("has not been reached")
    await page.context.set_offline(False)
    await expect(page.locator("#banner")).to_be_hidden()
    await expect(page.locator(".connection")).to_have_text("Live")
    await page.get_by_label("Search facilities").fill("f-34")
    await people.come("u-34")
    await expect(badge(page, "f-34")).to_have_text("Online")


async def test_signing_out_forgets_the_tokens(window: Window) -> None:
    page = await window.page()
    await sign_in(page, window.stack, "u-1")
    await page.get_by_role("button", name=re.compile("status and settings")).click()
    await page.get_by_text("Busy", exact=True).click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    assert await page.evaluate("Object.keys(sessionStorage)") == [], "nor does the next person have their status"
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("User id")).to_be_visible()


async def test_a_sign_in_that_has_lapsed_is_told_and_renewed_by_a_click(window: Window) -> None:
    page = await window.dashboard("u-1")

    async def refuse(route: Route) -> None:
        await route.fulfill(status=401, content_type="application/problem+json", body='{"code":"unauthenticated"}')

    async def no_longer(route: Route) -> None:
        await route.fulfill(status=400, content_type="application/json", body='{"error":"invalid_grant"}')

    await page.context.route(re.compile("/api/(heartbeat|regions|negotiate)"), refuse)
    await page.context.route(f"{window.stack.addresses.identity}/token", no_longer)
    await expect(page.locator("#banner")).to_contain_text("Your sign-in has lapsed.")
    await page.context.unroute_all()
    await page.get_by_role("button", name="Sign in again").click()
    await page.get_by_role("button", name=re.compile("u-1$")).click()
    await expect(page.locator(".connection")).to_have_text("Live")
    await expect(page.locator("#banner")).to_be_hidden()


async def test_a_refused_sign_in_is_explained(window: Window) -> None:
    page = await window.page()
    await page.goto(f"{window.stack.addresses.dashboard}/?error=access_denied&state=forged")
    await expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_a_chosen_theme_stays(window: Window) -> None:
    page = await window.dashboard("u-1", color_scheme="light")
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.get_by_role("button", name=re.compile("status and settings")).click()
    await page.get_by_role("radio", name="Dark").check()
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    await page.reload()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


async def test_answers_that_are_garbage_never_leave_a_blank_page(window: Window) -> None:
    """A proxy's page with status 200, and JSON of another kind, for the calls of the dashboard."""
    page = await window.page()

    async def proxy(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body="<h1>Welcome to the hotel network</h1>")

    async def other(route: Route) -> None:
        await route.fulfill(status=200, content_type="application/json", body='{"facilities":[{"name":7}],"items":3}')

    await page.route("**/api/config", proxy)
    await page.goto(window.stack.addresses.dashboard)
    await expect(page.get_by_role("heading", name="The server cannot be reached")).to_be_visible()
    await page.unroute("**/api/config")
    await sign_in(page, window.stack, "u-1", admin=True)
    await expect(page.locator(".connection")).to_have_text("Live")
    for garbage in (proxy, other):
        await page.route(re.compile(r"/api/(regions|facilities|agents)"), garbage)
        await page.reload()
        await expect(page.locator(".connection")).to_contain_text("Reconnecting")
        await expect(page.get_by_role("heading", name="Facilities", exact=True)).to_be_visible()
        await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/f-1")
        await expect(page.get_by_text("cannot be read").first).to_be_visible()
        await page.goto(f"{window.stack.addresses.dashboard}/#/agents")
        await expect(page.get_by_role("heading", name="Agents")).to_be_visible()
        await page.goto(f"{window.stack.addresses.dashboard}/#/nowhere")
        await expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
        await page.goto(f"{window.stack.addresses.dashboard}/#/")
        await page.unroute(re.compile(r"/api/(regions|facilities|agents)"))
        await page.reload()
        await expect(page.locator(".connection")).to_have_text("Live")


async def test_nothing_moves_while_the_page_fills(window: Window, people: People) -> None:
    page = await window.page()
    await page.add_init_script(
        """window.shift = 0;
        new PerformanceObserver((list) => { for (const each of list.getEntries()) window.shift += each.value; })
            .observe({ type: "layout-shift", buffered: true });"""
    )
    await sign_in(page, window.stack, "u-1", admin=True)
    await page.locator(".connection[data-state=live]").wait_for()
    await people.come("u-35")
    await page.get_by_label("Search facilities").fill("f-35")
    await expect(badge(page, "f-35")).to_have_text("Online")
    assert await page.evaluate("window.shift") < 0.02
