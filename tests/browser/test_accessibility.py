"""Every page, in both themes and at two widths, held against WCAG 2.2 AA by axe."""

import json
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.people import People

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


async def violations(page: Page) -> list[dict[str, Any]]:
    """What axe finds, and where."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    # What fades in has its final colours only then.
    await page.evaluate(
        "Promise.all(document.getAnimations().map((each) => (each.finish?.(), 0)).concat(0)).catch(() => 0)"
    )
    found = await page.evaluate(f"axe.run({{ runOnly: {json.dumps(TAGS)} }}).then(({{ violations }}) => violations)")
    return [{"rule": each["id"], "nodes": [node["html"][:200] for node in each["nodes"]]} for each in found]


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", DESKTOP), ("dark", PHONE)], ids=["light on a desktop", "dark on a phone"]
)
async def test_no_page_violates_wcag(window: Window, people: People, scheme: str, width: dict[str, int]) -> None:
    await people.come("u-36")
    await people.beat("u-37", "gone")
    await people.beat("u-37", "gone", leaving=True)
    page = await window.dashboard("u-1", admin=True, color_scheme=scheme, viewport=width, reduced_motion="reduce")
    await expect(page.locator(".row.facility .badge").first).to_be_visible()
    assert await violations(page) == []
    await page.get_by_role("button", name="status and settings").click()
    assert await violations(page) == []
    await page.keyboard.press("Escape")

    await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/f-36")
    await expect(page.locator(".now .badge")).to_have_text("Online")
    await expect(page.get_by_text("Loading…")).to_have_count(0)
    for details in await page.locator("summary").all():
        await details.click()
    assert await violations(page) == []

    await page.goto(f"{window.stack.addresses.dashboard}/#/agents")
    await page.locator('tr[data-user="u-36"]').get_by_role("button", name="End session").click()
    assert await violations(page) == []
    await page.get_by_role("button", name="Cancel").click()
    assert await violations(page) == []
    await expect(page.locator("body")).to_have_js_property("scrollWidth", width["width"])

    await page.context.set_offline(True)
    await expect(page.locator("#banner")).to_be_visible()
    assert await violations(page) == []
    for address in ("#/", "#/facilities/f-36"):
        await page.goto(f"{window.stack.addresses.dashboard}/{address}")
        await expect(page.locator(".is-stale .badge").first).to_be_visible()
        assert await violations(page) == []
    end = await page.locator(".person").bounding_box()
    assert end is not None
    assert end["x"] + end["width"] <= width["width"] - 14, "the header has room for every state"


async def test_pages_without_a_sign_in(window: Window) -> None:
    page = await window.page()
    await page.goto(f"{window.stack.addresses.dashboard}/?error=access_denied&state=forged")
    await expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    assert await violations(page) == []


async def test_the_way_by_keyboard_alone(window: Window) -> None:
    """Skip link, pages, menu, regions, search, filters, list: each reached by Tab, each with a visible focus."""
    page = await window.dashboard("u-1", admin=True)
    await page.locator(".row.facility").first.wait_for()
    await page.evaluate("document.activeElement.blur()")
    names = []
    for _ in range(17):
        await page.keyboard.press("Tab")
        names.append(
            await page.evaluate(
                """() => {
                    const at = document.activeElement;
                    const shown = at.matches(".cell-name a") ? getComputedStyle(at, "::after") : getComputedStyle(at);
                    const next = at.nextElementSibling && getComputedStyle(at.nextElementSibling);
                    const outlined = shown.outlineStyle !== "none" || next?.outlineStyle === "solid";
                    return (at.ariaLabel || at.textContent || at.value || at.id).trim() + (outlined ? "" : " NO FOCUS");
                }"""
            )
        )
    assert [name for name in names if name.endswith("NO FOCUS")] == []
    for expected in ("Skip to content", "Facilities", "Agents", "Search facilities by name, id or county", "all"):
        assert expected in names
    assert sum(name.startswith("Clearwater") for name in names) >= 2
    await page.keyboard.press("Home")
    await page.keyboard.press("Shift+Tab")
