"""A Chromium whose tab can be hidden: Playwright keeps its pages visible, so this speaks the browser's own protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp


class HiddenTab:
    """One tab (Chrome DevTools Protocol)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self._session: str | None = None
        self._target = ""

    async def open(self, url: str) -> None:
        """Opens the tab at an address."""
        self._target = (await self._call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self._call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        await self._call("Page.navigate", url=url)
        while await self.evaluate("document.readyState") != "complete" or await self.evaluate("origin") == "null":
            await asyncio.sleep(0.05)

    async def hide(self) -> None:
        """Opens another tab in front of this one and waits until the page knows."""
        session, self._session = self._session, None
        other = await self._call("Target.createTarget", url="about:blank")
        await self._call("Target.activateTarget", targetId=other["targetId"])
        self._session = session
        while await self.evaluate("document.visibilityState") != "hidden":
            await asyncio.sleep(0.05)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = await self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last += 1
        request: dict[str, object] = {"id": self._last, "method": method, "params": parameters}
        await self._socket.send_json(request | ({"sessionId": self._session} if self._session else {}))
        async for message in self._socket:
            answer = json.loads(message.data)
            if answer.get("id") == self._last:
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError("the browser has gone")


@asynccontextmanager
async def hidden_tab(chromium: str, profile: Path) -> AsyncIterator[HiddenTab]:
    """A tab of a browser of its own, which ends with the block."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
    )
    process = await asyncio.create_subprocess_exec(
        chromium, *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        url = ""
        async with asyncio.timeout(20):
            while not url:
                line = (await process.stderr.readline()).decode()
                assert line, "the browser did not start"
                url = line.split()[-1] if "DevTools listening" in line else ""
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
            yield HiddenTab(socket)
    finally:
        process.terminate()
        await process.communicate()
