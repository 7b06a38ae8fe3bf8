"""A hidden tab goes on to beat, whatever becomes of the page's own timers."""

import asyncio
from pathlib import Path

from emulators.stack import Stack
from tests.browser.conftest import BLANK, TTL_SECONDS
from tests.browser.hidden_tab import hidden_tab
from tests.browser.people import People

START = """(async () => {
    const { connect } = await import("./pulse.js");
    window.pulse = connect({ api: "..", getToken: () => TOKEN, regions: false });
})()"""
# Browsers slow the timers of a hidden page down to one a minute after five minutes, which no test waits for: here they
# do not fire at all.
STOP_TIMERS = "window.setTimeout = window.setInterval = window.requestAnimationFrame = () => 0; 0"


async def test_a_hidden_tab_goes_on_beating(chromium: str, stack: Stack, people: People, tmp_path: Path) -> None:
    token = await people.token("u-18")
    async with hidden_tab(chromium, tmp_path / "profile") as tab:
        await tab.open(f"{stack.addresses.dashboard}/{BLANK}")
        await tab.evaluate(STOP_TIMERS)
        await tab.evaluate(START.replace("TOKEN", repr(token)))
        while (await people.facility("f-18"))["status"] != "online":
            await asyncio.sleep(0.1)
        await tab.hide()
        await asyncio.sleep(2.5 * TTL_SECONDS)
        facility = await people.facility("f-18")
        assert await tab.evaluate("document.visibilityState") == "hidden"
        assert await tab.evaluate("pulse.connection.heartbeat") == "on"
    assert (facility["status"], facility["version"]) == ("online", 1)
