"""A facility that stays offline, told to its region and to a webhook that fails at first."""

import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.e2e.system import SETTINGS, TTL, running_system

AFTER = 2.0
SECRET = "of the whole stack"


class OnCall:
    """A receiver that refuses the first call, and checks every signature."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.calls = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.calls += 1
        body = await request.read()
        parts = dict(part.split("=", 1) for part in request.headers["X-Pulse-Signature"].split(","))
        expected = hmac.new(SECRET.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["v1"]) or abs(time.time() - int(parts["t"])) > 60:
            return web.Response(status=401)
        if self.calls == 1:
            return web.Response(status=500)
        self.taken.put_nowait(json.loads(body))
        return web.Response()


async def test_a_long_absence_and_the_return_reach_the_region_and_the_webhook(tmp_path: Path) -> None:
    on_call = OnCall()
    application = web.Application()
    application.router.add_post("/hook", on_call.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = {
        **SETTINGS,
        "ALERT_AFTER_SECONDS": str(AFTER),
        "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{runner.addresses[0][1]}/hook",
        "ALERT_WEBHOOK_SECRET": SECRET,
    }
    try:
        async with running_system(tmp_path, settings) as system:

            def alert(state: str) -> dict[str, Any] | None:
                alerts = (message for message in system.feed.messages if message["type"] == "facility.alert")
                return next((each for each in alerts if each["state"] == state), None)

            await system.people.beat("u-1")
            offline = await system.feed.change("f-1", "offline")
            noticed = time.time()
            told = await system.feed.until(lambda: alert("offline"), "the alert")
            assert time.time() - noticed < AFTER + TTL + 5, "within seconds, whatever the monitor's schedule"
            assert (told["facilityId"], told["regionId"], told["since"]) == ("f-1", "r-1", offline["since"])
            assert alert("recovered") is None

            back = await system.people.beat("u-1")
            recovered = await system.feed.until(lambda: alert("recovered"), "the return")
            assert recovered["since"] == back["receivedAt"]
            async with asyncio.timeout(30):
                assert [await on_call.taken.get(), await on_call.taken.get()] == [told, recovered]
            # Offline again within the cool-down.
            await system.feed.change("f-1", "offline", above=offline["version"])
            await system.feed.change("f-1", "online", above=offline["version"])
            await asyncio.sleep(AFTER + 2)
            alerts = [message["state"] for message in system.feed.messages if message["type"] == "facility.alert"]
            assert alerts == ["offline", "recovered"]
            sequences = [message["sequence"] for message in system.feed.messages if message.get("regionId") == "r-1"]
            assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    finally:
        await runner.cleanup()
