"""`GET /openapi.json`: every call of the contract, as it validates and answers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.functions as func
import jsonschema_rs
import pytest
from azure.functions.decorators.http import HttpTrigger

import functions
from functions.openapi import openapi
from shared import problems
from shared.http import Call, endpoint
from shared.problems import ProblemError
from shared.requests import AgentStatusBody, HeartbeatBody
from tests.functions.conftest import World, call, declared

ROOT = Path(__file__).parents[2]
CALLS = {
    ("post", "/heartbeat"),
    ("post", "/heartbeats"),
    ("post", "/negotiate"),
    ("get", "/regions"),
    ("get", "/regions/{regionId}/counties"),
    ("get", "/regions/{regionId}/facilities"),
    ("get", "/regions/{regionId}/activity"),
    ("get", "/facilities/{facilityId}"),
    ("get", "/facilities/{facilityId}/history"),
    ("get", "/facilities/{facilityId}/activity"),
    ("get", "/agents"),
    ("put", "/agents/{userId}/status"),
    ("delete", "/sessions/{userId}/{sessionId}"),
    ("get", "/config"),
    ("get", "/health"),
    ("get", "/openapi.json"),
}
CODES = {
    "malformed-request",
    "unauthenticated",
    "forbidden",
    "not-found",
    "agent-not-online",
    "method-not-allowed",
    "session-ended",
    "body-too-large",
    "unsupported-media-type",
    "invalid-request",
    "too-many-requests",
    "internal-error",
    "dependency-unavailable",
}
# What a person opens, and what answers where nothing is.
NOT_OF_THE_API = {"dashboard", "fallback"}


@pytest.fixture
async def document(world: World) -> dict[str, Any]:
    answer = await call(openapi, token=None)
    assert answer.status == 200
    return answer.body


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


async def test_it_holds_every_call_and_no_other(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert {(method, path) for method, path, _ in operations(document)} == CALLS
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_http_function_declares_what_it_answers() -> None:
    """A new function without a declaration fails here, and so does one that is forgotten above."""
    undeclared = set()
    for blueprint in functions.BLUEPRINTS:
        for builder in blueprint._function_builders:
            if isinstance(builder._function.get_trigger(), HttpTrigger):
                _, operation = declared(builder)
                assert operation.summary
                undeclared |= {operation.name} if operation.answers is None else set()
    assert undeclared == NOT_OF_THE_API


async def test_every_reference_leads_somewhere_and_every_schema_is_one(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    for schema in schemas.values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema)


async def test_who_may_call_stands_in_it(document: dict[str, Any]) -> None:
    anonymous = {path for _, path, operation in operations(document) if operation.get("security") == []}
    assert anonymous == {"/config", "/health", "/openapi.json"}
    assert document["security"] == [{"bearer": []}]
    assert "presence.admin" in document["paths"]["/agents"]["get"]["description"]
    assert "presence.gateway" in document["paths"]["/heartbeats"]["post"]["description"]


async def test_bodies_parameters_and_problems_are_those_that_are_checked(document: dict[str, Any]) -> None:
    beat = document["components"]["schemas"]["HeartbeatBody"]
    assert beat["required"] == ["sessionId"]
    assert beat["properties"]["sessionId"]["pattern"] == "^[A-Za-z0-9._-]{1,64}$"
    listing = {each["name"]: each for each in document["paths"]["/agents"]["get"]["parameters"]}
    assert set(listing) == {"regionId", "facilityId", "status", "limit", "cursor"}
    limit = listing["limit"]["schema"]
    assert (limit["type"], limit["minimum"], limit["maximum"], limit["default"]) == ("integer", 1, 1_000, 100)
    status = document["paths"]["/agents/{userId}/status"]["put"]
    assert "agent-not-online" in status["responses"]["404"]["description"]
    assert set(status["responses"]) == {"200", "400", "401", "403", "404", "405", "413", "415", "422", "500", "503"}
    ending = document["paths"]["/sessions/{userId}/{sessionId}"]["delete"]
    assert [each["schema"] for each in ending["parameters"]] == [{"type": "string", "minLength": 1}] * 2
    assert "404" not in ending["responses"]
    assert not document["paths"]["/negotiate"]["post"]["requestBody"]["required"]


async def test_who_holds_it_is_not_sent_it_again(world: World) -> None:
    tag = (await call(openapi, token=None)).headers["ETag"]
    assert tag.startswith('W/"'), "it is the same for every content coding"
    for known in (tag, tag.removeprefix("W/")):
        again = await call(openapi, token=None, headers={"If-None-Match": known})
        assert (again.status, again.raw) == (304, b"")


async def test_a_handler_that_reads_what_it_has_not_declared_fails(world: World) -> None:
    @endpoint("POST", body=HeartbeatBody, answers={204: None})
    async def other(call: Call) -> Any:
        """Reads something else."""
        return call.body(AgentStatusBody)

    assert (await call_plain(other)) == 500


async def call_plain(function: Any) -> int:
    request = func.HttpRequest("POST", "/", headers={"Authorization": "Bearer u-1"}, body=b"{}")
    status: int = (await function(request)).status_code
    return status


def test_every_problem_of_the_contract_has_its_section_in_the_documentation() -> None:
    classes = {
        each.code: each
        for each in vars(problems).values()
        if isinstance(each, type) and issubclass(each, ProblemError) and each is not ProblemError
    }
    assert classes.keys() == CODES
    text = (ROOT / "docs" / "errors.md").read_text()
    sections = dict(re.findall(r"^## ([a-z-]+)\n\n\*\*(\d{3})\.\*\*", text, re.MULTILINE))
    assert sections == {code: str(problem.status) for code, problem in classes.items()}
    for code in sections:
        section = text.split(f"## {code}\n", 1)[1].split("\n## ", 1)[0]
        assert "What to do:" in section
        assert f'"code": "{code}"' in section
