"""What the content security policy lets the dashboard do, served by the function app and as a static site."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from playwright.async_api import Page, expect

from emulators.stack import Stack
from shared.web_files import INDEX, security_headers, web_files
from tests.browser.conftest import Window
from tests.browser.people import People

API_ADDRESS = '<meta name="facility-pulse-api" content="..">'


@asynccontextmanager
async def static_site(stack: Stack) -> AsyncIterator[str]:
    """The dashboard's address on a server that has nothing but the files, and sends the headers that the docs name."""
    api, identity = stack.addresses.api, stack.addresses.identity
    [live] = [part for part in stack.addresses.web_pubsub.split(";") if part.startswith("Endpoint=")]
    [port] = [part for part in stack.addresses.web_pubsub.split(";") if part.startswith("Port=")] or [""]
    endpoint = live.removeprefix("Endpoint=").rstrip("/") + port.replace("Port=", ":")

    async def answer(request: web.Request) -> web.Response:
        path = request.path.removeprefix("/status/")
        file = web_files().get(path or INDEX)
        if file is None:
            raise web.HTTPNotFound
        body = file.body.replace(API_ADDRESS.encode(), API_ADDRESS.replace("..", api).encode())
        return web.Response(body=body, content_type=file.media_type, headers=security_headers(identity, endpoint, api))

    application = web.Application()
    application.router.add_get("/status/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/status/"
    finally:
        await runner.cleanup()


async def refused(page: Page, script: str) -> list[str]:
    """The directives that a script violates."""
    found: list[str] = await page.evaluate(
        f"""async () => {{
            const found = [];
            document.addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
            try {{ await {script}; }} catch {{}}
            await new Promise((resolve) => setTimeout(resolve, 200));
            return found;
        }}"""
    )
    return found


async def test_nothing_else_can_be_reached_or_run(window: Window) -> None:
    page = await window.dashboard("u-1")
    assert await refused(page, "fetch('http://127.0.0.1:9/')") == ["connect-src"]
    assert await refused(page, "new WebSocket('ws://127.0.0.1:9/')") == ["connect-src"]
    assert await refused(page, "new Worker('data:text/javascript,1')") == ["worker-src"]
    assert await refused(page, "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }))") == [
        "img-src"
    ]
    inline = "Object.assign(document.createElement('script'), { text: 'window.harmed = 1' })"
    assert await refused(page, f"document.body.append({inline})") == ["script-src-elem"]
    assert await page.evaluate("window.harmed") is None
    assert len(window.errors) >= 5
    window.errors.clear()


async def test_as_a_static_site_it_does_the_same(window: Window, people: People) -> None:
    """The API, the issuer and the live updates are each of another origin than the page."""
    async with static_site(window.stack) as address:
        page = await window.page()
        await page.goto(address)
        await page.get_by_label("User id").fill("u-1")
        await page.get_by_label("As administrator").check()
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_url(address)
        await expect(page.locator(".connection")).to_have_text("Live")
        await expect(page.locator(".presence")).to_have_attribute("data-state", "on")
        await people.come("u-30")
        await expect(page.locator('[data-key="f f-30"] .badge')).to_have_text("Online")
        await expect(page.locator(".row.group bdi").nth(1)).to_have_text("Clearwater")
        await page.get_by_role("link", name="Agents").click()
        await expect(page.locator('tr[data-user="u-30"] select')).to_have_value("available")
        await page.reload()
        await expect(page.locator(".connection")).to_have_text("Live")
        await page.get_by_role("button", name="status and settings").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
        await page.close()
