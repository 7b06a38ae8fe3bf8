"""A real Chromium against a real stack, one of each for all tests here."""

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from emulators.stack import Stack
from tests.browser.people import People

TTL_SECONDS = 3
WAIT_MS = 20_000
expect.set_options(timeout=WAIT_MS)
BLANK = "pulse.d.ts"  # a text of the dashboard: its origin and its policy, but no scripts of its own
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SETTINGS = {
    "SESSION_TTL_SECONDS": str(TTL_SECONDS),
    "LEAVE_GRACE_SECONDS": "1",
    "STALE_AFTER_SECONDS": "30",  # a busy machine is not to be told of in tests of other things
    "HEARTBEAT_LIMIT_PER_USER": "6000",
    "MONITOR_SCHEDULE": "*/2 * * * * *",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has every asynchronous test here run in one event loop, that of the browser."""
    here = Path(__file__).parent
    for item in items:
        is_async = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function)
        if item.path.is_relative_to(here) and is_async:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        pytest.skip("Chromium is not installed: `apt-get install chromium`, or CHROMIUM=/path make test")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The whole system with the demo directory; sessions end after TTL_SECONDS."""
    async with Stack(tmp_path_factory.mktemp("stack"), SETTINGS) as stack:
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def people(stack: Stack) -> AsyncIterator[People]:
    """Others who beat; they fall silent when the test is over."""
    async with People(stack) as people:
        yield people


class Window:
    """Makes browser contexts (each a browser of its own) and keeps what went wrong in their pages."""

    # What a sign-in leaves behind in a tab, by issuer and person: one through the pages is enough for each.
    _signed_in: ClassVar[dict[tuple[str, str, bool], str]] = {}

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self._browser = browser
        self.stack = stack
        self.contexts: list[BrowserContext] = []
        self.errors: list[str] = []

    async def context(self, **options: Any) -> BrowserContext:
        context = await self._browser.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self._watch)
        self.contexts.append(context)
        return context

    def _watch(self, message: ConsoleMessage) -> None:
        # Whatever the policy stops is something that the dashboard, or an attack on it, has tried.
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    async def page(self, **options: Any) -> Page:
        return await (await self.context(**options)).new_page()

    async def dashboard(self, user_id: str, *, admin: bool = False, **options: Any) -> Page:
        """A page of somebody who has signed in to the dashboard and sees it live."""
        page = await self.page(**options)
        person = self.stack.addresses.identity, user_id, admin
        if kept := self._signed_in.get(person):
            await page.add_init_script(f"if (!sessionStorage.length) Object.assign(sessionStorage, {kept});")
            await page.goto(self.stack.addresses.dashboard)
        else:
            await sign_in(page, self.stack, user_id, admin=admin)
            self._signed_in[person] = await page.evaluate("JSON.stringify(sessionStorage)")
        await page.locator(".connection[data-state=live]").wait_for()
        # Only the answer to a heartbeat tells the interval.
        await page.locator(".presence[data-state=on]").wait_for(state="attached")
        return page

    async def pulse(self, page: Page, user_id: str, options: str = "{}", **token: Any) -> None:
        """Connects pulse.js in a page without scripts of its own as `window.pulse`, and records its events.

        `options` is JavaScript; `window.events` holds `[type, event]` pairs, `window.asked` how getToken was called.
        """
        await page.goto(f"{self.stack.addresses.dashboard}/{BLANK}")
        await page.evaluate(
            """async ([identity, user, token]) => {
                const { connect } = await import("./pulse.js");
                window.asked = [];
                const getToken = async (reason) => {
                    window.asked.push(reason);
                    const body = JSON.stringify({ sub: user, roles: [], ...token });
                    const headers = { "Content-Type": "application/json" };
                    const answer = await fetch(identity + "/token", { method: "POST", headers, body });
                    return (await answer.json()).access_token;
                };
                window.events = [];
                window.start = (options) => {
                    const pulse = connect({ api: "..", getToken, ...options });
                    for (const type of ["facility", "region", "stale", "alert", "agent", "sessionEnded", "connection"])
                        pulse.on(type, (event) => window.events.push([type, event]));
                    return (window.pulse = pulse);
                };
            }""",
            [self.stack.addresses.identity, user_id, token],
        )
        await page.evaluate(f"() => void start({options})")


async def sign_in(page: Page, stack: Stack, user_id: str, *, admin: bool = False) -> None:
    """Goes to the dashboard, is sent to the identity emulator, and comes back as this user."""
    await page.goto(stack.addresses.dashboard)
    await page.get_by_label("User id").fill(user_id)
    if admin:
        await page.get_by_label("As administrator").check()
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url("**/api/dashboard/")


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, stack: Stack) -> AsyncIterator[Window]:
    """Pages to be opened; a script error in any of them fails the test."""
    window = Window(browser, stack)
    yield window
    for context in window.contexts:
        await context.close()
    assert window.errors == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(window: Window) -> Page:
    """A page without scripts of its own, which may import the modules of the client and of the dashboard."""
    page = await window.page()
    await page.goto(f"{window.stack.addresses.dashboard}/{BLANK}")
    return page


async def until(holds: Callable[[], bool], seconds: float = WAIT_MS / 1000) -> None:
    """Returns when something holds that no event tells of; fails after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to be"
        await asyncio.sleep(0.05)


async def when(page: Page, expression: str, seconds: float = WAIT_MS / 1000) -> None:
    """Returns when a JavaScript expression holds in the page, whose policy forbids Playwright's own way to wait."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await page.evaluate(f"Boolean({expression})"):
        if asyncio.get_running_loop().time() > deadline:
            known = await page.evaluate("JSON.stringify(window.pulse?.connection)")
            raise AssertionError(f"not within {seconds} s: {expression}; connection: {known}")
        await asyncio.sleep(0.05)
