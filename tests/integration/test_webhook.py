"""The webhook: signed, retried, in order per facility, and nothing waits for one that hangs or fails."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.alerts.webhook import REFUSALS, TRIES, Webhook, WebhookSettings
from shared.domain.alert import AlertState
from shared.domain.pipeline import PipelineState
from shared.domain.silence import Silence
from shared.errors import DependencyUnavailableError
from shared.registry import keys
from shared.registry.dead_letters import WEBHOOK, DeadLetters
from shared.registry.directory_cache import DirectoryCache
from shared.registry.watermarks import Watermarks
from shared.stream.entries import AlertEntry
from tests.integration.alert_world import AFTER, TTL, T, World

SECRET = "näh, that is not it"
DUE = TTL + AFTER
NUMBERED_LATER = 3_000
"""How long a call waits for the number of its message."""


@dataclass
class Receiver:
    """An on-call service; `answer` decides what it does with a call."""

    port: int = 0
    calls: list[tuple[dict[str, Any], str, str, bytes]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Awaitable[int]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = json.loads(raw)
        self.calls.append((body, request.headers["X-Pulse-Signature"], request.headers["X-Pulse-Delivery"], raw))
        return web.Response(status=200 if self.answer is None else await self.answer(body))

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(body["facilityId"], body["state"]) for body, _, _, _ in self.calls]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    yield receiver
    await runner.cleanup()


class Clock:
    now = T

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def webhook(redis: Redis, receiver: Receiver, clock: Clock) -> Webhook:
    settings = WebhookSettings(f"http://127.0.0.1:{receiver.port}/hook", SECRET)
    return Webhook(redis, settings, DirectoryCache(redis), DeadLetters(redis), clock, timeout_seconds=0.3)


@pytest.fixture
async def world(redis: Redis, webhook: Webhook) -> World:
    world = World(redis, webhook)
    await world.publish()
    return world


async def offline(world: World, clock: Clock, *facilities: str) -> None:
    """Has facilities announced as offline, and time pass until calls need no number any more."""
    for facility in facilities:
        await world.heard(facility, 0)
    await world.announce(DUE)
    clock.now = T + DUE + NUMBERED_LATER


async def pipeline(redis: Redis, state: PipelineState) -> None:
    """Puts the pipeline into a state, as the sweep does."""
    assert await Watermarks(redis).save(state, T, before=None)


async def waiting(redis: Redis) -> int:
    return sum([await redis.zcard(partition.webhooks) for partition in keys.ALL_PARTITIONS])


async def test_the_message_is_posted_with_its_number_and_a_signature_that_verifies(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    await world.heard("f-1", 0)
    await world.announce(DUE)
    clock.now = T + DUE
    await webhook.deliver()
    assert receiver.calls == [], "the message to the region has no number yet"
    alert = AlertEntry("f-1", AlertState.OFFLINE, T + TTL)
    await redis.set(keys.alert_sequence(alert.alert_id), 17)
    await webhook.deliver()
    ((body, signature, delivery, raw),) = receiver.calls
    assert body == {
        "type": "facility.alert",
        "regionId": "r-1",
        "sequence": 17,
        "facilityId": "f-1",
        "state": "offline",
        "since": "2026-11-18T11:06:50.000Z",
    }
    assert delivery == alert.alert_id
    parts = dict(part.split("=", 1) for part in signature.split(","))
    assert int(parts["t"]) == clock.now // 1000
    expected = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + raw, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(parts["v1"], expected)
    await webhook.deliver()
    assert len(receiver.calls) == 1
    assert await waiting(redis) == 0


async def test_it_does_not_wait_for_browsers_that_cannot_be_reached(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    await offline(world, clock, "f-1")
    await webhook.deliver()
    assert [body["sequence"] for body, _, _, _ in receiver.calls] == [None]


async def test_a_failed_call_is_tried_again_with_growing_pauses_and_the_same_delivery(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    answers = [500, 302, 404, 200]

    async def answer(_: dict[str, Any]) -> int:
        return answers.pop(0)

    receiver.answer = answer
    await offline(world, clock, "f-1")
    for attempt, pause in enumerate((1_000, 2_000, 4_000)):
        await webhook.deliver()
        assert len(receiver.calls) == attempt + 1
        clock.now += pause // 2 - 1
        await webhook.deliver()
        assert len(receiver.calls) == attempt + 1, "too early"
        clock.now += pause // 2 + 1
    await webhook.deliver()
    assert len(receiver.calls) == 4
    assert len({delivery for _, _, delivery, _ in receiver.calls}) == 1
    assert await waiting(redis) == 0
    assert await DeadLetters(redis).count() == 0


async def test_after_its_last_try_a_call_is_set_aside_with_the_reason_and_the_next_has_its_turn(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    async def answer(body: dict[str, Any]) -> int:
        return 200 if body["state"] == "recovered" else 500

    receiver.answer = answer
    await offline(world, clock, "f-1")
    await world.heard("f-1", DUE + 1)
    await world.announce(DUE + 2)
    for _ in range(TRIES + 1):
        await webhook.deliver()
        clock.now += 300_000
    assert receiver.told == [("f-1", "offline")] * TRIES + [("f-1", "recovered")]
    (letter,) = await DeadLetters(redis).list(WEBHOOK)
    assert letter.reason == "it answers 500"
    assert json.loads(letter.body)["facilityId"] == "f-1"
    assert await waiting(redis) == 0


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_call_refused_for_what_is_in_it_is_set_aside_soon_and_the_return_has_its_turn(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock, status: int
) -> None:
    answers = [500, 500, status, 500]

    async def answer(body: dict[str, Any]) -> int:
        return 200 if body["state"] == "recovered" else answers.pop(0) if answers else status

    receiver.answer = answer
    await offline(world, clock, "f-1")
    await world.heard("f-1", DUE + 1)
    await world.announce(DUE + 2)
    for _ in range(TRIES):
        await webhook.deliver()
        clock.now += 300_000
    assert receiver.told == [("f-1", "offline")] * (3 + REFUSALS) + [("f-1", "recovered")], "outages do not count"
    (letter,) = await DeadLetters(redis).list(WEBHOOK)
    assert letter.reason == f"it answers {status}"
    assert await waiting(redis) == 0
    assert [await redis.exists(each.webhook_attempts) for each in keys.ALL_PARTITIONS] == [0] * keys.PARTITIONS


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 408, 410, 425, 429, 308])
async def test_an_answer_that_any_alert_would_get_is_waited_out(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock, status: int
) -> None:
    async def answer(_: dict[str, Any]) -> int:
        return status if len(receiver.calls) < TRIES else 200

    receiver.answer = answer
    await offline(world, clock, "f-1")
    for _ in range(TRIES):
        await webhook.deliver()
        clock.now += 300_000
    assert len(receiver.calls) == TRIES
    assert await DeadLetters(redis).count() == 0
    assert await waiting(redis) == 0


@pytest.mark.parametrize(
    "stale",
    [PipelineState(T, stale_since=T), PipelineState(T, silence=Silence(since=T))],
    ids=["stalled", "mass silence"],
)
async def test_while_the_pipeline_is_stale_nobody_is_called_and_after_it_everything_goes_in_its_order(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock, stale: PipelineState
) -> None:
    failing = True

    async def answer(_: dict[str, Any]) -> int:
        return 500 if failing else 200

    receiver.answer = answer
    await world.heard("f-2", 5_000)
    await offline(world, clock, "f-1")
    await webhook.deliver()
    await world.heard("f-1", DUE + 1)
    await world.announce(DUE + 5_000)
    assert receiver.told == [("f-1", "offline")]
    await pipeline(redis, stale)
    failing = False
    for _ in range(2 * TRIES):
        clock.now += 300_000
        async with asyncio.timeout(10):
            await webhook.deliver()
    assert len(receiver.calls) == 1, "neither a first call, nor another try, nor a return"
    await pipeline(redis, PipelineState(T))
    await webhook.deliver()
    clock.now += NUMBERED_LATER
    await webhook.deliver()
    assert sorted(receiver.told[1:]) == [("f-1", "offline"), ("f-1", "recovered"), ("f-2", "offline")]
    assert receiver.told.index(("f-1", "recovered")) > receiver.told.index(("f-1", "offline"), 1)
    assert await DeadLetters(redis).count() == await waiting(redis) == 0


async def test_a_stall_that_begins_between_two_calls_keeps_the_rest_waiting(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    async def answer(_: dict[str, Any]) -> int:
        await pipeline(redis, PipelineState(T, stale_since=T))
        return 200

    receiver.answer = answer
    await offline(world, clock, *(f"f-{n}" for n in range(10)))
    await webhook.deliver()
    assert len(receiver.calls) == 8, "those that were under way"
    assert await waiting(redis) == 2


async def test_where_redis_fails_for_one_the_others_under_way_come_to_their_end(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, leased = asyncio.Event(), []
    first_call = redis.lindex

    async def fail_for_one(key: str, index: int) -> Any:
        if key.endswith(":f-1"):
            failed.set()
            raise RedisConnectionError("gone")
        return await first_call(key, index)

    async def answer(_: dict[str, Any]) -> int:
        await failed.wait()
        await asyncio.sleep(0.05)
        leased.append(await redis.exists(keys.WEBHOOK_LEASE))
        return 200

    receiver.answer = answer
    await offline(world, clock, "f-1", "f-2")
    with monkeypatch.context() as patch:
        patch.setattr(redis, "lindex", fail_for_one)
        with pytest.raises(DependencyUnavailableError, match="redis"):
            await webhook.deliver()
    assert receiver.told == [("f-2", "offline")]
    assert leased == [1]
    assert await waiting(redis) == 1, "what was taken is done with"
    await webhook.deliver()
    assert receiver.told[1:] == [("f-1", "offline")]


async def test_one_that_fails_or_hangs_for_some_does_not_hold_up_the_others(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    async def answer(body: dict[str, Any]) -> int:
        if body["facilityId"] == "f-1":
            await asyncio.sleep(60)
        return 500 if body["facilityId"] == "f-2" else 200

    receiver.answer = answer
    everyone = [f"f-{n}" for n in range(10)]
    await offline(world, clock, *everyone)
    await webhook.deliver()
    assert sorted(receiver.told) == [(facility, "offline") for facility in everyone]
    assert await waiting(redis) == 2
    clock.now += 1_000
    receiver.answer = None
    await webhook.deliver()
    assert await waiting(redis) == 0


async def test_waking_it_returns_at_once_and_only_one_process_calls(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def answer(_: dict[str, Any]) -> int:
        arrived.set()
        await go.wait()
        return 200

    receiver.answer = answer
    await offline(world, clock, "f-1")
    world.alerts.call_webhook()
    async with asyncio.timeout(10):
        await arrived.wait()
    second = Webhook(
        redis,
        WebhookSettings(f"http://127.0.0.1:{receiver.port}/hook", SECRET),
        DirectoryCache(redis),
        DeadLetters(redis),
        clock,
    )
    await second.deliver()
    assert len(receiver.calls) == 1
    go.set()
    await webhook.close()


async def test_one_that_cannot_be_reached_is_tried_again(redis: Redis, clock: Clock) -> None:
    nobody = Webhook(
        redis, WebhookSettings("http://127.0.0.1:1/", SECRET), DirectoryCache(redis), DeadLetters(redis), clock
    )
    world = World(redis, nobody)
    await world.publish()
    await offline(world, clock, "f-1")
    await nobody.deliver()
    assert await waiting(redis) == 1


async def test_a_facility_removed_while_its_call_waits_is_not_called_about(
    redis: Redis, world: World, webhook: Webhook, receiver: Receiver, clock: Clock
) -> None:
    await offline(world, clock, "f-9")
    await world.publish(facilities=9)
    await webhook.deliver()
    assert receiver.calls == []
    assert await waiting(redis) == 0
