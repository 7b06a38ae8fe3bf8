"""Messages to browsers, through the Web PubSub emulator."""

from collections.abc import AsyncIterator

import pytest

from shared.broadcast.push import WebPubSubPush
from shared.connections import WebPubSubConnection
from shared.errors import DependencyUnavailableError
from tests.emulators.web_pubsub_harness import Emulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as emulator:
        yield emulator


@pytest.fixture
async def push(emulator: Emulator) -> AsyncIterator[WebPubSubPush]:
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=emulator.connection_string))
    yield push
    await push.close()


async def test_a_browser_is_in_its_groups_from_the_start(emulator: Emulator, push: WebPubSubPush) -> None:
    url, _ = await push.client_url("u-1", ["region-r-1"], 60)
    browser = await emulator.open(url)
    await push.send_to_group("region-r-2", {"n": 1})
    await push.send_to_group("region-r-1", {"n": 2, "name": "Süd"})
    assert await browser.json() == {"n": 2, "name": "Süd"}


async def test_a_message_reaches_every_connection_of_a_user(emulator: Emulator, push: WebPubSubPush) -> None:
    user_id = "a@b|c:d+e=f"
    browsers = [await emulator.open((await push.client_url(user_id, [], 60))[0]) for _ in range(2)]
    await push.send_to_user(user_id, {"type": "session.ended"})
    assert [await browser.json() for browser in browsers] == [{"type": "session.ended"}] * 2


async def test_users_leave_a_group_unless_they_are_in_another_too(emulator: Emulator, push: WebPubSubPush) -> None:
    staying, leaving, both = "u-1", "a@b|c:d+e=f", "boss"
    browsers = {
        user_id: await emulator.open((await push.client_url(user_id, groups, 60))[0])
        for user_id, groups in (
            (staying, ["region-r-1"]),
            (leaving, ["region-r-1", "region-r-2"]),
            (both, ["region-r-1", "agents-r-1"]),
        )
    }
    strangers = [f"stranger-{number:0100d}" for number in range(100)]
    await push.leave_group("region-r-1", [*strangers, leaving, both], unless_in="agents-r-1")
    await push.send_to_group("region-r-1", {"n": 1})
    await push.send_to_group("region-r-2", {"n": 2})
    assert await browsers[staying].json() == {"n": 1}
    assert await browsers[both].json() == {"n": 1}
    assert await browsers[leaving].json() == {"n": 2}


async def test_a_service_that_is_away_is_said_so(emulator: Emulator, push: WebPubSubPush) -> None:
    await push.ping()
    await emulator.stop()
    calls = push.ping(), push.send_to_group("g", {}), push.send_to_user("u", {}), push.leave_group("g", ["u"], "h")
    for call in calls:
        with pytest.raises(DependencyUnavailableError, match="webPubSub"):
            await call


async def test_a_wrong_key_is_found_by_the_ping(emulator: Emulator) -> None:
    connection_string = f"Endpoint={emulator.endpoint};AccessKey={'x' * 44};Version=1.0;"
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=connection_string))
    with pytest.raises(DependencyUnavailableError, match="webPubSub"):
        await push.ping()
    await push.close()
