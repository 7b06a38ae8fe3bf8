"""The OpenAPI 3.1 document: made of what the functions declare, which is also what validates their requests."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.answers import Answer, Problem
from shared.http import BATCH_LIMIT, BODY_LIMIT
from shared.operations import Operation
from shared.problems import (
    CONTENT_TYPE,
    BodyTooLargeError,
    ForbiddenError,
    InternalError,
    InvalidRequestError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    ProblemError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from shared.requests import GatewayHeartbeat, Id, Query, UserId

VERSION = "1.0.0"
"""Of the API, not of the code: its first number changes when a client has to."""
_SCHEMAS = "#/components/schemas/{model}"
_PATH_PARAMETERS: Mapping[str, Any] = {"userId": UserId, "sessionId": Id, "facilityId": Id, "regionId": Id}
_AnyId = Annotated[str, Field(min_length=1)]
_RETRY_AFTER = {"description": "Seconds after which to try again", "schema": {"type": "integer"}}
_DESCRIPTION = f"""Live connectivity of facilities, from the heartbeats of the people signed in there.

A request is checked in this order, and the first thing found is answered: method, token, role, size, content type,
JSON, fields, and then whether the caller may touch what it names. Bodies are UTF-8 JSON of at most
{BODY_LIMIT // 1024} KiB (`/heartbeats` {BATCH_LIMIT // 1024} KiB). Unknown fields and parameters are ignored. User ids
are percent-encoded in paths. What takes GET takes HEAD. Times are UTC."""


def describe(routed: Iterable[tuple[str, Operation]]) -> dict[str, Any]:
    """Returns the document for operations with their routes; those that declare no answers are left out."""
    described = [(route, operation) for route, operation in routed if operation.answers is not None]
    models, definitions = _schemas(operation for _, operation in described)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in described:
        paths.setdefault(f"/{route}", {})[(operation.method or "GET").lower()] = _operation(route, operation, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Facility Pulse", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/api"}],
        "security": [{"bearer": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token of the OpenID Connect issuer that `GET /config` names",
                }
            },
        },
    }


def problems_of(route: str, operation: Operation) -> list[type[ProblemError]]:
    """Returns what a call may answer with besides its answers: what follows from its declaration, and what it adds."""
    found: list[type[ProblemError]] = [MethodNotAllowedError, InternalError, *operation.problems]
    if not operation.anonymous:
        found += [UnauthenticatedError, UnavailableError]
    if operation.role is not None:
        found.append(ForbiddenError)
    if "{" in route and not operation.any_ids:
        found.append(NotFoundError)
    if operation.body is not None:
        found += [MalformedRequestError, BodyTooLargeError, UnsupportedMediaTypeError, InvalidRequestError]
    if operation.query is not None:
        found.append(InvalidRequestError)
    return sorted(set(found), key=lambda problem: (problem.status, problem.code))


def _operation(route: str, operation: Operation, models: Mapping[Any, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"operationId": to_camel(operation.name), "summary": operation.summary}
    if operation.anonymous:
        document["security"] = []
    if operation.role is not None:
        document["description"] = f"For callers with the role `{operation.role}`."
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_parameter(name, operation)}
        for name in re.findall(r"{(\w+)}", route)
    ]
    if operation.query is not None:
        parameters += _query_parameters(operation.query)
    if parameters:
        document["parameters"] = parameters
    if operation.body is not None:
        document["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": models[operation.body, "validation"]}},
        }
    responses: dict[str, Any] = {}
    for status, answer in (operation.answers or {}).items():
        responses[str(status)] = {"description": _first_line(answer) if answer else _EMPTY[status]}
        if answer is not None:
            schema = models[answer, "serialization"]
            responses[str(status)]["content"] = {"application/json": {"schema": schema}}
    for problem in problems_of(route, operation):
        _add_problem(responses, problem, models[Problem, "serialization"])
    document["responses"] = responses
    return document


def _path_parameter(name: str, operation: Operation) -> dict[str, Any]:
    return TypeAdapter(_AnyId if operation.any_ids else _PATH_PARAMETERS[name]).json_schema()


_EMPTY = {204: "Done", 304: "The caller holds the newest form"}


def _add_problem(responses: dict[str, Any], problem: type[ProblemError], schema: Any) -> None:
    says = f"`{problem.code}`: {problem.title}"
    held = responses.get(str(problem.status))
    if held is not None:
        held["description"] += f"; {says}"
        held.setdefault("content", {})[CONTENT_TYPE] = {"schema": schema}
        return
    responses[str(problem.status)] = {"description": says, "content": {CONTENT_TYPE: {"schema": schema}}}
    if problem.status in (429, 503):
        responses[str(problem.status)]["headers"] = {"Retry-After": _RETRY_AFTER}


def _query_parameters(query: type[Query]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(ref_template=_SCHEMAS)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _not_null(property_)}
        for name, property_ in schema["properties"].items()
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a parameter: one that is not given is absent, there is no null in a query string."""
    kept = {name: value for name, value in schema.items() if name != "title" and (name, value) != ("default", None)}
    if "anyOf" in kept:
        [only] = [each for each in kept.pop("anyOf") if each != {"type": "null"}]
        kept |= only
    return kept


def _schemas(operations: Iterable[Operation]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (Problem, "serialization"): None,
        (GatewayHeartbeat, "validation"): None,
    }
    for operation in operations:
        for model in (operation.body, operation.query):
            if model is not None:
                wanted[model, "validation"] = None
        wanted |= {(answer, "serialization"): None for answer in (operation.answers or {}).values() if answer}
    models, top = models_json_schema(list(wanted), ref_template=_SCHEMAS)
    definitions: dict[str, Any] = _open(top["$defs"])
    for wanted_model, _ in wanted:
        if issubclass(wanted_model, Query):
            # Its parameters are listed one by one.
            definitions.pop(wanted_model.__name__, None)
    return models, definitions


def _open(schema: Any) -> Any:
    """Returns a schema that admits fields added later, without pydantic's titles, which repeat names."""
    if isinstance(schema, dict):
        return {
            name: _open(value)
            for name, value in schema.items()
            if (name, value) != ("additionalProperties", False) and not (name == "title" and isinstance(value, str))
        }
    return [_open(each) for each in schema] if isinstance(schema, list) else schema


def _first_line(answer: type[Answer]) -> str:
    return (answer.__doc__ or answer.__name__).splitlines()[0]
