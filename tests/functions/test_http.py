"""What all HTTP functions have in common, in the order in which it is checked."""

import pytest

from functions.agent_status import agent_status
from functions.agents import agents
from functions.config import config
from functions.end_session import end_session
from functions.facility import facility
from functions.fallback import fallback
from functions.health import health
from functions.heartbeat import heartbeat
from functions.heartbeats import heartbeats
from functions.negotiate import negotiate
from functions.openapi import openapi
from functions.region_counties import region_counties
from functions.region_facilities import region_facilities
from functions.regions import regions
from shared import bootstrap
from tests.functions.conftest import World, call

METHODS = [
    (heartbeat, "POST"),
    (heartbeats, "POST"),
    (negotiate, "POST"),
    (regions, "GET"),
    (region_counties, "GET"),
    (region_facilities, "GET"),
    (facility, "GET"),
    (agents, "GET"),
    (agent_status, "PUT"),
    (end_session, "DELETE"),
    (config, "GET"),
    (health, "GET"),
    (openapi, "GET"),
]
GUARDED = METHODS[:10]


@pytest.mark.parametrize(("function", "method"), METHODS)
async def test_another_method_is_refused_before_anything_else(world: World, function: object, method: str) -> None:
    for wrong in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {method}:
        answer = await call(function, wrong, token=None, body=b"{")
        assert answer.problem() == (405, "method-not-allowed")
        assert answer.headers["Allow"] == ("GET, HEAD" if method == "GET" else method)


@pytest.mark.parametrize("function", [regions, config, openapi])
async def test_head_is_answered_as_get_is(world: World, function: object) -> None:
    get, head = [await call(function, method) for method in ("GET", "HEAD")]
    assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("function", [heartbeat, heartbeats, negotiate, agent_status, end_session])
async def test_head_is_refused_where_get_is(world: World, function: object) -> None:
    assert (await call(function, "HEAD")).problem() == (405, "method-not-allowed")


@pytest.mark.parametrize(("function", "method"), GUARDED)
async def test_without_a_good_token_nothing_is_answered(world: World, function: object, method: str) -> None:
    answer = await call(function, method, token=None, body=b"{")
    assert answer.problem() == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = await call(function, method, token="expired", body=b"{")
    assert answer.problem() == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("header", ["", "u-1", "Basic dTox", "Bearer", "Bearer ", "Bearer ü"])
async def test_a_header_that_carries_no_token_is_refused(world: World, header: str) -> None:
    answer = await call(regions, token=None, headers={"Authorization": header})
    assert answer.problem() == (401, "unauthenticated")


@pytest.mark.parametrize("header", ["bearer u-1", "BEARER u-1", "Bearer   u-1 "])
async def test_the_case_of_the_scheme_does_not_matter(world: World, header: str) -> None:
    assert (await call(regions, token=None, headers={"authorization": header})).status == 200


async def test_an_issuer_that_is_away_is_no_bad_token(world: World) -> None:
    world.tokens.away = True
    answer = await call(regions)
    assert answer.problem() == (503, "dependency-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert "identity" in answer.body["detail"]
    assert "login.example" not in answer.body["detail"]


async def test_the_role_is_checked_before_the_body(world: World) -> None:
    answer = await call(heartbeats, "POST", body=b"x" * 2_000_000, headers={"Content-Type": "text/plain"})
    assert answer.problem() == (403, "forbidden")


async def test_the_size_is_checked_before_the_content_type(world: World) -> None:
    plain = {"Content-Type": "text/plain"}
    answer = await call(heartbeat, "POST", body=b"x" * (256 * 1024 + 1), headers=plain)
    assert answer.problem() == (413, "body-too-large")
    answer = await call(heartbeat, "POST", body=b"x" * 256 * 1024, headers=plain)
    assert answer.problem() == (415, "unsupported-media-type")


async def test_a_batch_may_be_larger(world: World) -> None:
    gateway = "g,presence.gateway"
    assert (await call(heartbeats, "POST", token=gateway, body=b" " * 2**20)).problem() == (400, "malformed-request")
    assert (await call(heartbeats, "POST", token=gateway, body=b" " * (2**20 + 1))).problem()[0] == 413


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json"]
)
async def test_a_body_that_is_not_said_to_be_json_is_refused(world: World, content_type: str) -> None:
    answer = await call(heartbeat, "POST", body=b"{", headers={"Content-Type": content_type})
    assert answer.problem() == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"']
)
async def test_json_may_be_said_in_several_ways(world: World, content_type: str) -> None:
    answer = await call(heartbeat, "POST", body={"sessionId": "s"}, headers={"Content-Type": content_type})
    assert answer.status == 202


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"{'a':1}", b'{"sessionId":"\xff"}', b'{"sessionId":NaN}', b'{"a":1}x', b"[" * 100_000]
)
async def test_a_body_that_is_not_json_is_malformed(world: World, body: bytes) -> None:
    assert (await call(heartbeat, "POST", body=body)).problem() == (400, "malformed-request")


@pytest.mark.parametrize("body", [[], "text", 1, True, [{"sessionId": "s"}]])
async def test_json_that_is_no_object_is_invalid(world: World, body: object) -> None:
    answer = await call(heartbeat, "POST", body=body)
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"] == [{"pointer": "", "detail": "The body should be a JSON object"}]


async def test_a_fault_of_ours_is_told_by_a_number_that_is_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.publisher.failure = ZeroDivisionError("secret detail")
    answer = await call(heartbeat, "POST", body={"sessionId": "s"})
    assert answer.problem() == (500, "internal-error")
    assert "secret" not in answer.raw.decode()
    assert answer.body["detail"].split()[-1].rstrip(".") in caplog.text


async def test_an_unknown_address_is_answered_in_our_form(world: World) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await call(fallback, method, token=None, path="nothing/here")
        assert answer.problem() == (404, "not-found")
        assert "nothing/here" in answer.body["detail"]


async def test_the_browser_learns_where_to_sign_in(world: World) -> None:
    answer = await call(config, token=None)
    assert (answer.status, answer.body) == (
        200,
        {"issuer": "https://login.example", "clientId": "browser", "scope": "api://facility-pulse/use"},
    )
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_missing_setting_is_not_answered_with_its_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start checks the settings; should they be missing later, callers are told of a fault and nothing else."""
    bootstrap.override(None)
    monkeypatch.delenv("EventHubConnection", raising=False)
    answer = await call(config, token=None)
    assert answer.problem() == (500, "internal-error")
    assert "EventHub" not in answer.raw.decode()
