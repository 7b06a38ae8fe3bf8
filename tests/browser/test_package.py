"""What front-end developers install, and the page that shows its use."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import expect

from shared.web_files import FOLDER
from tests.browser.conftest import Window, when
from tests.browser.people import People


def test_the_package_holds_the_client_and_nothing_of_the_dashboard(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: `apt-get install npm`, then `make test TESTS=tests/browser/test_package.py`")
    command = [npm, "pack", "--dry-run", "--json", "--offline", "--cache", str(tmp_path)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    [package] = json.loads(done.stdout)
    modules = {f"pulse/{path.name}" for path in (FOLDER / "pulse").iterdir()}
    assert {file["path"] for file in package["files"]} == {"package.json", "pulse.js", "pulse.d.ts", *modules}


def test_modules_of_the_package_import_only_each_other() -> None:
    for path in (FOLDER / "pulse.js", *(FOLDER / "pulse").iterdir()):
        for target in re.findall(r'(?:from|import|URL\()\s*"([^"]+)"', path.read_text()):
            assert (path.parent / target).resolve().is_relative_to(FOLDER / "pulse"), (path.name, target)


async def test_the_types_name_what_there_is(window: Window) -> None:
    text = (FOLDER / "pulse.d.ts").read_text()
    interfaces = dict(re.findall(r"export interface (\w+) \{\n(.*?)\n\}", text, re.DOTALL))
    members = {
        name: set(re.findall(r"^  (?:readonly )?(\w+)[<(?:]", body, re.MULTILINE)) for name, body in interfaces.items()
    }
    page = await window.page()
    await window.pulse(page, "u-1", "{ heartbeat: false }")
    await when(page, "window.pulse?.connection.state === 'live' && pulse.facility('f-1')")
    shown = "Object.getOwnPropertyNames(Object.getPrototypeOf(pulse)).filter((name) => name !== 'constructor')"
    assert set(await page.evaluate(shown)) == members["Pulse"]
    assert set(await page.evaluate("Object.keys(pulse.connection)")) == members["Connection"]
    assert set(await page.evaluate("Object.keys(pulse.stale)")) == members["Stale"]
    assert set(await page.evaluate("Object.keys(pulse.facility('f-1'))")) == members["Facility"]
    assert members["Region"] == set(await page.evaluate("Object.keys(pulse.regions.get('r-1'))"))
    source = (FOLDER / "pulse.js").read_text()
    assert set(re.findall(r'#emit\("(\w+)"', source)) | {"connection"} == members["PulseEvents"]
    [defaults] = re.findall(r"const DEFAULTS = \{(.*?)\};", source, re.DOTALL)
    assert set(re.findall(r"(\w+):", defaults)) | {"api", "getToken"} == members["ConnectOptions"]


async def test_the_example_page_works(window: Window, people: People) -> None:
    page = await window.page()
    token = await people.token("u-38")
    await page.goto(f"{window.stack.addresses.dashboard}/example.html#token={token}")
    await expect(page.get_by_role("status")).to_have_text("Live updates: live. Heartbeats: on.")
    await expect(page.get_by_text("Dunmore Rehabilitation Centre: online")).to_be_visible()
    lines = (FOLDER / "example.js").read_text().splitlines() + (FOLDER / "example.html").read_text().splitlines()
    assert len(lines) <= 31


async def test_the_page_of_the_documentation_works_as_it_is_printed(window: Window, people: People) -> None:
    """Served from an origin of its own, as it would be under development; only the addresses are replaced."""
    [text] = re.findall(r"```html\n(.*?)```", (FOLDER.parent / "docs/front-end.md").read_text(), re.DOTALL)
    addresses = window.stack.addresses
    page_text = text.replace("http://127.0.0.1:7071/api", addresses.api)
    page_text = page_text.replace("http://127.0.0.1:7072", addresses.identity)

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name:
            return web.FileResponse(FOLDER / name)
        return web.Response(text=page_text, content_type="text/html")

    application = web.Application()
    application.router.add_get(r"/{name:(pulse\.js|pulse/\w+\.js|)}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        page = await window.page()
        await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await expect(page.get_by_role("status")).to_have_text("Live updates: live. Heartbeats: on.")
        await expect(page.locator("#f-2")).to_contain_text(": online")
        await expect(page.locator("#f-20")).to_have_text("Birchmoor Care Home: offline")
        await people.come("u-20")
        await expect(page.locator("#f-20")).to_have_text("Birchmoor Care Home: online")
        await page.close()
    finally:
        await runner.cleanup()
    assert len(text.splitlines()) <= 35
