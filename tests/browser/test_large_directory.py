"""A directory of 5,000 facilities with names that mean harm, in a stack of its own."""

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from emulators.stack import Stack
from tests.browser.conftest import SETTINGS, Window, sign_in

MARKUP = '<img src=x onerror="window.harmed = 1"><script>window.harmed = 1</script>'
RIGHT_TO_LEFT = "\u202egnihtemos\u202d \u05d1\u05d9\u05ea \u05d7\u05d5\u05dc\u05d9\u05dd"
LONG = "W" * 200
HOSTILE = {"f-markup": MARKUP, "f-rtl": RIGHT_TO_LEFT, "f-long": LONG, "f-blank": "\u00a0"}
MANY = 5_000


def write(folder: Path, facilities: Iterable[Sequence[str]]) -> None:
    tables: dict[str, Iterable[Sequence[str]]] = {
        "regions": [("region_id", "name"), ("r-1", f"{MARKUP} & Co"), ("r-2", "Quiet")],
        "counties": [("county_id", "region_id", "name"), *((f"c-{n}", "r-1", MARKUP) for n in range(10))],
        "facilities": [("facility_id", "county_id", "name"), *facilities],
        "users": [("user_id", "name"), ("eve", MARKUP), ("longest", LONG)],
        "facility_users": [("user_id", "facility_id"), ("eve", "f-markup"), ("longest", "f-long")],
    }
    folder.mkdir(exist_ok=True)
    for table, rows in tables.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)


def facilities(*, without: str = "") -> list[Sequence[str]]:
    many = [(f"f-{n}", f"c-{n % 10}", f"Facility {n}") for n in range(MANY - len(HOSTILE))]
    hostile = [(facility_id, "c-0", name) for facility_id, name in HOSTILE.items()]
    return [each for each in many + hostile if each[0] != without]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def large(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("large")
    async with Stack(folder / "stack", SETTINGS) as stack:
        write(folder / "csv", facilities())
        await stack.load_directory(folder / "csv")
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, large: Stack) -> AsyncIterator[Window]:
    window = Window(browser, large)
    yield window
    for context in window.contexts:
        await context.close()
    assert window.errors == []


async def test_five_thousand_facilities_without_lag(window: Window) -> None:
    page = await window.dashboard("eve", admin=True)
    await expect(page.locator(".summary")).to_have_text("1 of 5,000 can be reached right now")
    assert await page.locator(".row").count() < 60
    search = page.get_by_label("Search facilities")
    # From a key to the page drawn anew; the median of several, as the machine may be busy.
    delays = await page.evaluate(
        """async () => {
            const search = document.querySelector("#search");
            const delays = [];
            for (const text of ["f", "fa", "fac 4", "fac 49", "fac 499", "", "9", "99", ""]) {
                const started = performance.now();
                search.value = text;
                search.dispatchEvent(new Event("input", { bubbles: true }));
                await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
                delays.push(performance.now() - started);
            }
            return delays.sort((one, other) => one - other);
        }"""
    )
    assert delays[len(delays) // 2] < 100
    await search.fill("facility 4990")
    await expect(page.locator(".row.facility")).to_have_count(1)
    await search.fill("")
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await expect(page.locator('[data-key="f f-4989"]')).to_be_visible()
    assert await page.locator(".row").count() < 80
    await page.locator('[data-key="f f-4989"] a').focus()
    await page.keyboard.press("Home")
    await expect(page.locator(".row.facility a").first).to_be_focused()


async def test_hostile_names_are_shown_as_they_are(window: Window) -> None:
    page = await window.dashboard("eve", admin=True)
    for facility_id, name in HOSTILE.items():
        await page.get_by_label("Search facilities").fill(facility_id)
        row = page.locator(f'[data-key="f {facility_id}"]')
        shown = await row.locator(".cell-name bdi").text_content()
        assert shown == (name if name.strip() else facility_id)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/{facility_id}")
        await expect(page.get_by_role("heading", level=1)).to_have_text(shown or "")
        await page.goto(f"{window.stack.addresses.dashboard}/#/")
    await page.goto(f"{window.stack.addresses.dashboard}/#/agents")
    await expect(page.locator('tr[data-user="eve"] th bdi')).to_have_text(MARKUP)
    await page.locator('tr[data-user="eve"]').get_by_role("button", name="End session").click()
    await expect(page.get_by_role("dialog")).to_contain_text(MARKUP)
    assert await page.evaluate("window.harmed") is None


async def test_a_name_of_two_hundred_letters_leaves_room_on_a_phone(window: Window) -> None:
    page = await window.page(viewport={"width": 360, "height": 640})
    await sign_in(page, window.stack, "longest")
    await expect(page.locator(".connection")).to_have_text("Live")
    for address in ("#/", "#/facilities/f-long"):
        await page.goto(f"{window.stack.addresses.dashboard}/{address}")
        await page.wait_for_timeout(200)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_a_facility_that_disappears_from_the_directory(window: Window, large: Stack, tmp_path: Path) -> None:
    page = await window.dashboard("eve", admin=True)
    await page.get_by_label("Search facilities").fill("facility 4990")
    await expect(page.locator('[data-key="f f-4990"]')).to_be_visible()
    write(tmp_path, facilities(without="f-4990"))
    await large.load_directory(tmp_path)
    await expect(page.locator('[data-key="f f-4990"]')).to_have_count(0)
    await expect(page.locator(".summary")).to_contain_text("4,999")
    await page.goto(f"{window.stack.addresses.dashboard}/#/facilities/f-4990")
    await expect(page.get_by_text("There is no facility with this id.")).to_be_visible()
