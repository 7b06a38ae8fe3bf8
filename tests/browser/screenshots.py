"""`python -m tests.browser.screenshots`: pictures of a running stack's dashboard for the documentation."""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from emulators.stack.addresses import read_stack_file
from emulators.stack.plan import CHECKOUT
from tests.browser.conftest import PROGRAMS

IMAGES = CHECKOUT / "docs" / "images"
PAGES = {"facilities": "#/", "facility": "#/facilities/f-12", "agents": "#/agents"}
VIEWS: dict[str, dict[str, Any]] = {
    "desktop": {"color_scheme": "light", "viewport": {"width": 1360, "height": 850}},
    "desktop-dark": {"color_scheme": "dark", "viewport": {"width": 1360, "height": 850}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5},
    "phone-dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5},
}
# Each page at both widths; the themes take turns.
PICTURES = {
    "desktop": ["facilities", "agents"],
    "desktop-dark": ["facility"],
    "phone": ["facility"],
    "phone-dark": ["facilities", "agents"],
}
SETTLE_SECONDS = 4.0


async def photograph(stack: dict[str, Any], folder: Path, pages: list[str]) -> None:
    """Writes `<page>-<view>.png` for each that PICTURES has."""
    async with async_playwright() as playwright:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        browser = await playwright.chromium.launch(executable_path=program)
        for view, shown in PICTURES.items():
            wanted = [page for page in shown if page in pages]
            if wanted:
                await _photograph_view(browser, stack["dashboard"], folder, wanted, view)
        await browser.close()


async def _photograph_view(browser: Browser, dashboard: str, folder: Path, pages: list[str], view: str) -> None:
    page = await browser.new_page(**VIEWS[view], locale="en-GB", timezone_id="UTC")
    await _sign_in(page, dashboard)
    for name in pages:
        await page.goto(f"{dashboard}/{PAGES[name]}")
        await asyncio.sleep(SETTLE_SECONDS)
        await page.screenshot(path=folder / f"{name}-{view}.png", animations="disabled")
    await page.close()


async def _sign_in(page: Page, dashboard: str) -> None:
    await page.goto(dashboard)
    await page.get_by_label("As administrator").check()
    await page.get_by_label("User id").fill("u-1")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.locator(".connection[data-state=live]").wait_for()


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--stack", type=Path, default=CHECKOUT / ".local", help="directory of the stack (.local)")
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder of the pictures (docs/images)")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    options = parser.parse_args()
    stack = read_stack_file(options.stack)
    if stack is None:
        print(f"no stack is running in {options.stack}: make run", file=sys.stderr)  # noqa: T201 - a command
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    asyncio.run(photograph(stack, options.to, options.pages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
