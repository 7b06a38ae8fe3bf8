"""`POST /heartbeat` and `POST /heartbeats`."""

from typing import Any

import pytest

from functions.heartbeat import heartbeat
from functions.heartbeats import heartbeats
from shared.domain.heartbeat import AgentStatus
from shared.domain.instants import to_iso
from shared.errors import DependencyUnavailableError
from shared.events.codec import Draft
from shared.limits import HeartbeatLimiter
from tests.functions.conftest import NOW, World, call

GATEWAY = "gateway-1,presence.gateway"


async def test_a_heartbeat_is_answered_with_its_deadline(world: World) -> None:
    answer = await call(heartbeat, "POST", body={"sessionId": "tab-1", "unknown": {"field": []}})
    assert (answer.status, answer.body) == (
        202,
        {
            "sessionId": "tab-1",
            "receivedAt": to_iso(NOW),
            "expiresAt": to_iso(NOW + 90_000),
            "intervalSeconds": 30,
            "ttlSeconds": 90,
        },
    )
    assert answer.raw.decode().endswith('"intervalSeconds":30,"ttlSeconds":90}')
    assert answer.headers["Cache-Control"] == "no-store"
    assert world.publisher.accepted == [Draft("u-1", "tab-1")]


async def test_leaving_brings_the_deadline_forward(world: World) -> None:
    answer = await call(heartbeat, "POST", body={"sessionId": "tab-1", "leaving": True})
    assert answer.body["expiresAt"] == to_iso(NOW + 5_000)
    assert world.publisher.accepted == [Draft("u-1", "tab-1", leaving=True)]


async def test_everything_said_is_passed_on(world: World) -> None:
    body = {"sessionId": "tab-1", "facilityId": "f-1", "agentStatus": "busy", "leaving": False}
    assert (await call(heartbeat, "POST", body=body)).status == 202
    assert world.publisher.accepted == [Draft("u-1", "tab-1", "f-1", AgentStatus.BUSY)]


async def test_null_means_absent(world: World) -> None:
    body = {"sessionId": "tab-1", "facilityId": None, "agentStatus": None, "leaving": None}
    assert (await call(heartbeat, "POST", body=body)).status == 202
    assert world.publisher.accepted == [Draft("u-1", "tab-1")]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/sessionId"),
        ({"session_id": "s"}, "/sessionId"),
        ({"sessionId": None}, "/sessionId"),
        ({"sessionId": 1}, "/sessionId"),
        ({"sessionId": ""}, "/sessionId"),
        ({"sessionId": "a/b"}, "/sessionId"),
        ({"sessionId": "s\n"}, "/sessionId"),
        ({"sessionId": "x" * 65}, "/sessionId"),
        ({"sessionId": "é"}, "/sessionId"),
        ({"sessionId": "s", "facilityId": 7}, "/facilityId"),
        ({"sessionId": "s", "facilityId": ""}, "/facilityId"),
        ({"sessionId": "s", "agentStatus": "asleep"}, "/agentStatus"),
        ({"sessionId": "s", "agentStatus": "offline"}, "/agentStatus"),
        ({"sessionId": "s", "agentStatus": ["busy"]}, "/agentStatus"),
        ({"sessionId": "s", "agentStatus": 1}, "/agentStatus"),
        ({"sessionId": "s", "leaving": "true"}, "/leaving"),
        ({"sessionId": "s", "leaving": 1}, "/leaving"),
    ],
)
async def test_a_bad_field_is_pointed_at(world: World, body: dict[str, Any], pointer: str) -> None:
    answer = await call(heartbeat, "POST", body=body)
    assert answer.problem() == (422, "invalid-request")
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]
    assert world.publisher.accepted == []


async def test_all_bad_fields_are_listed(world: World) -> None:
    answer = await call(heartbeat, "POST", body={"facilityId": 1, "leaving": 0})
    assert {error["pointer"] for error in answer.body["errors"]} == {"/sessionId", "/facilityId", "/leaving"}


async def test_a_session_that_was_ended_stays_ended(world: World) -> None:
    assert (await call(heartbeat, "POST", body={"sessionId": "ended"})).problem() == (410, "session-ended")
    assert world.publisher.accepted == []


async def test_what_event_hubs_has_not_accepted_is_not_answered_with_success(world: World) -> None:
    world.publisher.failure = DependencyUnavailableError("eventHubs", "ns.servicebus.windows.net refused")
    for function, token, body in (
        (heartbeat, "u-1", {"sessionId": "s"}),
        (heartbeats, GATEWAY, {"heartbeats": [{"userId": "u", "sessionId": "s"}]}),
    ):
        answer = await call(function, "POST", token=token, body=body)
        assert answer.problem() == (503, "dependency-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert "servicebus" not in answer.raw.decode()


async def test_a_user_over_the_limit_is_told_when_to_go_on(world: World) -> None:
    world.limiter = HeartbeatLimiter(2)
    answers = [await call(heartbeat, "POST", body={"sessionId": "s"}) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    assert answers[2].problem() == (429, "too-many-requests")
    assert 0 < int(answers[2].headers["Retry-After"]) <= 120
    assert (await call(heartbeat, "POST", token="u-2", body={"sessionId": "s"})).status == 202
    world.time += 120_000
    assert (await call(heartbeat, "POST", body={"sessionId": "s"})).status == 202


async def test_a_gateway_speaks_for_many(world: World) -> None:
    body = {"heartbeats": [{"userId": f"u@{n}|x", "sessionId": "s", "facilityId": "f-1"} for n in range(1000)]}
    answer = await call(heartbeats, "POST", token=GATEWAY, body=body)
    assert (answer.status, answer.body) == (202, {"accepted": 1000, "rejected": []})
    assert world.publisher.accepted[7] == Draft("u@7|x", "s", "f-1")


async def test_bad_ones_come_back_and_do_not_spoil_the_good(world: World) -> None:
    items = [
        {"userId": "u-1", "sessionId": "s"},
        {"userId": "u 1", "sessionId": "s"},
        "text",
        {"sessionId": "s"},
        {"userId": "u-1", "sessionId": "ended"},
        {"userId": "u-2", "sessionId": "s", "leaving": True},
    ]
    answer = await call(heartbeats, "POST", token=GATEWAY, body={"heartbeats": items})
    assert answer.status == 202
    assert answer.body["accepted"] == 2
    assert [(each["index"], each["code"]) for each in answer.body["rejected"]] == [
        (1, "invalid-request"),
        (2, "invalid-request"),
        (3, "invalid-request"),
        (4, "session-ended"),
    ]
    assert answer.body["rejected"][2]["detail"] == "/userId: Field required"
    assert world.publisher.accepted == [Draft("u-1", "s"), Draft("u-2", "s", leaving=True)]


async def test_an_empty_batch_is_accepted(world: World) -> None:
    answer = await call(heartbeats, "POST", token=GATEWAY, body={"heartbeats": []})
    assert (answer.status, answer.body) == (202, {"accepted": 0, "rejected": []})


@pytest.mark.parametrize("body", [{}, {"heartbeats": None}, {"heartbeats": {}}, {"heartbeats": [{}] * 1001}])
async def test_a_batch_that_is_none_is_refused_as_a_whole(world: World, body: dict[str, Any]) -> None:
    answer = await call(heartbeats, "POST", token=GATEWAY, body=body)
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"][0]["pointer"] == "/heartbeats"


async def test_other_roles_are_no_gateways(world: World) -> None:
    answer = await call(heartbeats, "POST", token="u-1,presence.admin", body={"heartbeats": []})
    assert answer.problem() == (403, "forbidden")
