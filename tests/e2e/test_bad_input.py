"""What must not be let in, over HTTP and through the hub: each gets the contract's answer, and loses nothing."""

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.amqp import AmqpAnnotatedMessage
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from tests.e2e.front_ends import Answer
from tests.e2e.system import System, eventually
from tests.redis_server import stream_rows

pytestmark = pytest.mark.asyncio(loop_scope="session")

USER = "u-20"


async def post(system: System, body: Any, path: str = "/heartbeat", **headers: str) -> Answer:
    return await system.people.call("POST", path, token=await system.people.token(USER), body=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b'{"sessionId": "s"', 400, "malformed-request", id="cut off"),
        pytest.param(b"\xff\xfe", 400, "malformed-request", id="not UTF-8"),
        pytest.param(b"", 400, "malformed-request", id="empty"),
        pytest.param(b'{"sessionId": NaN}', 400, "malformed-request", id="not a number"),
        pytest.param([], 422, "invalid-request", id="a list"),
        pytest.param("s", 422, "invalid-request", id="a text"),
        pytest.param({"sessionId": "s", "padding": "x" * 300_000}, 413, "body-too-large", id="over 256 KiB"),
    ],
)
async def test_what_is_not_a_small_json_object_is_refused(system: System, body: Any, status: int, code: str) -> None:
    assert (await post(system, body)).problem() == (status, code)


@pytest.mark.parametrize("odd", ["a%20b", "a%2Fb", "%25", "%252F", "%ff", "caf%C3%A9", "a%0Ab", "%7B%7D", "x" * 200])
async def test_the_end_of_what_cannot_be_is_answered_like_any_other(system: System, odd: str) -> None:
    address = f"{system.stack.addresses.api}/sessions"
    headers = {"Authorization": f"Bearer {await system.people.token(USER)}"}
    for path, status in ((f"{USER}/{odd}", 204), (f"{USER}/{odd}", 204), (f"{odd}/tab", 403), (f"u-21/{odd}", 403)):
        url = URL(f"{address}/{path}", encoded=True)
        async with system.people.http.delete(url, headers=headers) as response:
            assert response.status == status, path


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/sessionId"),
        ({"sessionId": None}, "/sessionId"),
        ({"sessionId": 7}, "/sessionId"),
        ({"sessionId": ""}, "/sessionId"),
        ({"sessionId": "s" * 65}, "/sessionId"),
        ({"sessionId": "a/b"}, "/sessionId"),
        ({"sessionId": "s\n"}, "/sessionId"),
        ({"sessionId": "s", "facilityId": 20}, "/facilityId"),
        ({"sessionId": "s", "facilityId": "f" * 65}, "/facilityId"),
        ({"sessionId": "s", "agentStatus": "asleep"}, "/agentStatus"),
        ({"sessionId": "s", "leaving": "yes"}, "/leaving"),
        ({"sessionId": "s", "leaving": 1}, "/leaving"),
    ],
    ids=str,
)
async def test_a_field_that_is_missing_or_wrong_is_named(system: System, body: dict[str, Any], pointer: str) -> None:
    answer = await post(system, body)
    assert answer.problem() == (422, "invalid-request")
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


@pytest.mark.parametrize("query", ["limit=", "limit", "limit=&cursor=", "granularity=&limit="])
async def test_a_parameter_without_a_value_is_not_taken_for_absent(system: System, query: str) -> None:
    path = f"/facilities/f-20/history?{query}"
    answer = await system.people.call("GET", path, token=await system.people.token(USER))
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"][0] == {"pointer": "/limit", "detail": "Value error, should be a whole number"}


async def test_unknown_fields_are_ignored(system: System) -> None:
    answer = await post(system, {"sessionId": "s", "color": "blue", "receivedAt": "1999-01-01T00:00:00.000Z"})
    assert answer.status == 202
    assert answer.body["receivedAt"].startswith("2")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_another_content_type_is_refused(system: System, content_type: str) -> None:
    answer = await post(system, b'{"sessionId": "s"}', **{"Content-Type": content_type})
    assert answer.problem() == (415, "unsupported-media-type")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method_is_refused(system: System, method: str) -> None:
    answer = await system.people.call(method, "/heartbeat", token=await system.people.token(USER))
    assert answer.problem() == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/health", "/regions", "/dashboard/index.html", "/nothing/here"])
async def test_head_is_answered_as_get_is_without_a_body(system: System, path: str) -> None:
    headers = {"Authorization": f"Bearer {await system.people.token(USER)}"}
    answers = []
    for method in ("GET", "HEAD"):
        async with system.people.http.request(method, f"{system.stack.addresses.api}{path}", headers=headers) as answer:
            length = len(await answer.read())
            answers.append((answer.status, answer.content_type, answer.headers.get("Content-Length")))
    assert answers[0] == answers[1]
    assert length == 0


async def test_an_unknown_address_is_refused(system: System) -> None:
    answer = await system.people.call("GET", "/heartbeat/of/nobody")
    assert answer.problem() == (404, "not-found")


async def _tokens(system: System) -> dict[str, str | None]:
    good = await system.people.token(USER)
    header, payload, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "none at all": None,
        "no token": "not-a-token",
        "expired": await system.people.token(USER, expiresIn=-120),
        "for another audience": await system.people.token(USER, aud="somebody-else"),
        "signed by another key": jwt.encode(claims, own_key, "RS256", {"kid": jwt.get_unverified_header(good)["kid"]}),
        "signed with a password": jwt.encode(claims, "p" * 32, "HS256"),
        "not signed": jwt.encode(claims, "", "none"),
        "of an unknown key": jwt.encode(claims, own_key, "RS256", {"kid": "unknown"}),
        "with another payload": f"{header}.{payload[:-4]}AAAA.{signature}",
        "of another issuer": jwt.encode(claims | {"iss": "https://elsewhere"}, own_key, "RS256"),
        "not valid yet": jwt.encode(claims | {"nbf": int(time.time()) + 600}, own_key, "RS256"),
    }


async def test_a_token_that_does_not_prove_who_calls_is_refused(system: System) -> None:
    wrong = {}
    for name, token in (await _tokens(system)).items():
        answer = await system.people.call("POST", "/heartbeat", token=token, body={"sessionId": "s"})
        wrong[name] = answer.problem()
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert wrong == dict.fromkeys(wrong, (401, "unauthenticated"))


async def test_a_gateways_batch_is_taken_but_for_its_broken_elements(system: System) -> None:
    gateway = await system.people.token("gateway", "presence.gateway")
    beats = [
        {"userId": "u-21", "sessionId": "s"},
        {"userId": "u-21"},
        {"userId": "u 21", "sessionId": "s"},
        "nonsense",
        {"userId": "u-22", "sessionId": "s", "more": True},
    ]
    answer = await system.people.call("POST", "/heartbeats", token=gateway, body={"heartbeats": beats})
    assert answer.status == 202
    assert answer.body["accepted"] == 2
    assert [(each["index"], each["code"]) for each in answer.body["rejected"]] == [
        (index, "invalid-request") for index in (1, 2, 3)
    ]
    for facility in ("f-21", "f-22"):
        await system.feed.change(facility, "online")


async def test_a_batch_is_refused_from_anybody_else_or_when_too_large(system: System) -> None:
    assert (await post(system, {"heartbeats": []}, "/heartbeats")).problem() == (403, "forbidden")
    gateway = await system.people.token("gateway", "presence.gateway")
    many = {"heartbeats": [{"userId": "u-21", "sessionId": "s"}] * 1_001}
    answer = await system.people.call("POST", "/heartbeats", token=gateway, body=many)
    assert answer.problem() == (422, "invalid-request")
    large = b'{"heartbeats": [], "padding": "' + b"x" * 1_100_000 + b'"}'
    answer = await system.people.call("POST", "/heartbeats", token=gateway, body=large)
    assert answer.problem() == (413, "body-too-large")


async def test_a_heartbeat_of_an_unknown_user_is_accepted_and_kept_unassigned(system: System) -> None:
    before = await system.counter("unassigned")
    await system.people.beat("nobody@example.com")

    async def counted() -> bool:
        return await system.counter("unassigned") > before

    await eventually(counted, "an unassigned heartbeat")


async def test_a_heartbeat_for_a_facility_that_is_not_the_users_is_kept_unassigned(system: System) -> None:
    before = await system.counter("unassigned")
    await system.people.beat("u-23", facilityId="f-24")

    async def counted() -> bool:
        return await system.counter("unassigned") > before

    await eventually(counted, "an unassigned heartbeat")
    assert (await system.people.facility("f-24"))["version"] == 0
    assert (await system.people.facility("f-23"))["version"] == 0


async def test_a_foreign_event_in_the_hub_is_set_aside_and_what_follows_works(system: System) -> None:
    before = await system.counter("dead_letters")
    addresses = system.stack.addresses
    producer = EventHubProducerClient.from_connection_string(
        addresses.event_hubs, eventhub_name=addresses.event_hub_name
    )
    async with producer:
        partitions = await producer.get_partition_ids()
        strange: list[EventData | AmqpAnnotatedMessage] = [
            EventData(body) for body in (b"\x00\xff", b'"text"', json.dumps({"v": 99}).encode())
        ]
        await asyncio.gather(*(producer.send_batch(strange, partition_id=partition) for partition in partitions))

    async def set_aside() -> bool:
        return await system.counter("dead_letters") == before + 3 * len(partitions)

    await eventually(set_aside, "every foreign event set aside")
    reasons = {row["reason"] for row in await stream_rows(system.redis, "dead-letters:ingest")}
    assert reasons == {"the body is not JSON", "the body is not an object with v = 1"}
    # Whatever partition it goes to, it comes after a foreign event.
    accepted = await system.people.beat("u-25")
    assert (await system.feed.change("f-25", "online"))["since"] == accepted["receivedAt"]


async def test_after_all_this_everything_is_well(system: System) -> None:
    accepted = await system.people.beat(USER, "last")
    await system.feed.change("f-20", "online")
    health = await system.people.call("GET", "/health")
    assert (health.status, health.body["status"]) == (200, "ok")
    assert all(health.body["checks"].values())
    assert accepted["sessionId"] == "last"
