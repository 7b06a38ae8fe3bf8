"""What every HTTP function has in common: who calls, what they send, and how answers and problems look.

Checked in this order, the first that fails is answered: method, token, role, size, content type, JSON, fields.
"""

import functools
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, unquote

import azure.functions as func
from pydantic import ValidationError
from pydantic_core import from_json

from shared.answers import Answer
from shared.auth import Caller
from shared.bootstrap import Services, services
from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN
from shared.entity_tags import is_held
from shared.errors import DependencyUnavailableError, DirectoryMissingError, StoreError
from shared.operations import Operation
from shared.problems import (
    CONTENT_TYPE,
    BodyTooLargeError,
    FieldError,
    ForbiddenError,
    InternalError,
    InvalidRequestError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    ProblemError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
    problem_of,
    refused_by_store,
)
from shared.requests import Body, Query, field_errors

OPERATION = "operation"
"""The attribute by which a function carries what it declares."""
BODY_LIMIT = 256 * 1024
BATCH_LIMIT = 1024 * 1024

logger = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be answered: the caller is known, the body not yet read."""

    request: func.HttpRequest
    services: Services
    operation: Operation
    _caller: Caller | None
    _body_limit: int

    @property
    def caller(self) -> Caller:
        """Who calls. Only for endpoints that are not anonymous."""
        if self._caller is None:
            raise RuntimeError("an anonymous endpoint has no caller")
        return self._caller

    def body[T: Body](self, model: type[T]) -> T:
        """Returns the validated body, of the model declared; an optional one that is absent is an empty object."""
        self.operation.expect("body", model, self.operation.body)
        raw = self.request.get_body()
        if len(raw) > self._body_limit:
            raise BodyTooLargeError(f"The body has {len(raw)} bytes; at most {self._body_limit} are taken here.")
        if self.operation.body_optional and not raw.strip():
            return _validate(model, {})
        if not _is_json(self.request.headers.get("Content-Type", "")):
            raise UnsupportedMediaTypeError("The Content-Type must be application/json (UTF-8).")
        try:
            value = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise MalformedRequestError(f"The body is not JSON: {error}") from None
        return _validate(model, value)

    def query[T: Query](self, model: type[T]) -> T:
        """Returns the validated query string, of the model declared; errors point into it as into an object."""
        self.operation.expect("query", model, self.operation.query)
        # The host leaves parameters without a value out of `params`, and so would have them taken for absent.
        written = dict(parse_qsl(self.request.url.partition("?")[2], keep_blank_values=True))
        try:
            return model.model_validate(written | dict(self.request.params))
        except ValidationError as error:
            raise InvalidRequestError(field_errors(error)) from None

    def region_id(self) -> str:
        """Returns the region id of the path."""
        return self._id("regionId")

    def facility_id(self) -> str:
        """Returns the facility id of the path."""
        return self._id("facilityId")

    def user_id(self) -> str:
        """Returns the user id of the path."""
        return self._id("userId", USER_ID_PATTERN)

    def path_text(self, name: str) -> str:
        """Returns a parameter of the path, whatever it is."""
        return unquote(self.request.route_params.get(name, ""))

    def _id(self, name: str, pattern: re.Pattern[str] = ID_PATTERN) -> str:
        value = self.path_text(name)
        if not pattern.fullmatch(value):
            raise NotFoundError(f"The {name} in the path is not an id.")
        return value


type Handler = Callable[[Call], Awaitable[func.HttpResponse]]
type HttpFunction = Callable[[func.HttpRequest], Awaitable[func.HttpResponse]]


def endpoint(
    method: str | None,
    *,
    anonymous: bool = False,
    role: str | None = None,
    body: type[Body] | None = None,
    body_optional: bool = False,
    body_limit: int = BODY_LIMIT,
    any_ids: bool = False,
    query: type[Query] | None = None,
    answers: Mapping[int, type[Answer] | None] | None = None,
    problems: Sequence[type[ProblemError]] = (),
) -> Callable[[Handler], HttpFunction]:
    """Makes an HTTP function of a handler that answers a `Call`; whatever it raises becomes a problem response.

    `method` None takes any, "GET" takes HEAD too; with `any_ids` the parameters of the path may be any. What is
    declared here is checked here, and shown by the OpenAPI document; `answers` are the models of the bodies by status,
    `problems` what the handler itself may raise. The result has the handler's name, by which the Functions worker
    knows it.
    """

    # RFC 9110, section 9.1. A HEAD is answered as a GET is; the host sends no body after it.
    methods = () if method is None else ("GET", "HEAD") if method == "GET" else (method,)

    def decorate(handler: Handler) -> HttpFunction:
        operation = Operation(
            name=handler.__name__,
            method=method,
            summary=(handler.__doc__ or "").splitlines()[0],
            anonymous=anonymous,
            role=role,
            body=body,
            body_optional=body_optional,
            query=query,
            any_ids=any_ids,
            answers=answers,
            problems=problems,
        )

        async def function(req: func.HttpRequest) -> func.HttpResponse:
            try:
                if methods and req.method.upper() not in methods:
                    raise MethodNotAllowedError(req.method.upper(), methods)  # noqa: TRY301 - answered below
                up = services()
                caller = None if anonymous else await up.tokens.verify(_bearer_token(req))
                if role is not None and (caller is None or role not in caller.roles):
                    raise ForbiddenError(f"This call needs the role {role}.")  # noqa: TRY301 - answered below
                return await handler(Call(req, up, operation, caller, body_limit))
            except ProblemError as problem:
                return problem_response(problem)
            except (DependencyUnavailableError, DirectoryMissingError) as error:
                logger.warning("%s: %s", function.__name__, error)
                return problem_response(problem_of(error))
            except StoreError:
                # Not the caller's fault, and most often a deployment under way or undone: later it may work.
                correlation_id = uuid.uuid4().hex
                logger.exception("%s failed under %s: sql refuses", function.__name__, correlation_id)
                return problem_response(refused_by_store(correlation_id))
            except Exception:
                correlation_id = uuid.uuid4().hex
                logger.exception("%s failed under %s", function.__name__, correlation_id)
                return problem_response(InternalError(correlation_id))

        # Without __wrapped__: the worker must see this function's own parameter, not the handler's.
        functools.update_wrapper(function, handler, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        del function.__wrapped__  # type: ignore[attr-defined]
        setattr(function, OPERATION, operation)
        return function

    return decorate


def json_response(
    body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Returns a compact JSON answer that no cache keeps."""
    return func.HttpResponse(
        _encode(body),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        mimetype="application/json",
    )


def empty_response() -> func.HttpResponse:
    """Returns 204: done, and there is nothing to say."""
    return func.HttpResponse(status_code=204, headers={"Cache-Control": "no-store"})


def prepared_response(
    request: func.HttpRequest,
    body: bytes,
    compressed: bytes | None,
    etag: str,
    *,
    mimetype: str = "application/json",
    extra_headers: Mapping[str, str] | None = None,
) -> func.HttpResponse:
    """Returns an answer that was serialised before: 304 if the caller holds it, gzip if the caller takes it.

    The caller's cache may keep it, but must ask before each use.
    """
    headers = {
        "Cache-Control": "private, no-cache",
        "ETag": etag,
        "Vary": "Accept-Encoding, Authorization",
        **(extra_headers or {}),
    }
    if is_held(request.headers.get("If-None-Match", ""), etag):
        return func.HttpResponse(status_code=304, headers=headers, mimetype=mimetype)
    if compressed is not None and _takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        body = compressed
    return func.HttpResponse(body, headers=headers, mimetype=mimetype)


def problem_response(problem: ProblemError) -> func.HttpResponse:
    """Returns the answer that tells a problem (RFC 9457)."""
    return func.HttpResponse(
        problem.body(),
        status_code=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        mimetype=CONTENT_TYPE,
    )


def plain_number(value: float) -> float:
    """Returns an integer for a number without decimals, so that 30.0 is written as 30."""
    return int(value) if value == int(value) else value


def _validate[T: Body](model: type[T], value: Any) -> T:
    if not isinstance(value, dict):
        raise InvalidRequestError([FieldError("", "The body should be a JSON object")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error)) from None


def _bearer_token(request: func.HttpRequest) -> str:
    """Returns the token of the Authorization header (RFC 6750, section 2.1); the scheme's case does not matter."""
    header: str = request.headers.get("Authorization", "")
    scheme, _, token = header.strip().partition(" ")
    if not scheme:
        raise UnauthenticatedError("The Authorization header is missing.", token_given=False)
    token = token.strip()
    if scheme.lower() != "bearer" or not token.isascii() or not token:
        raise UnauthenticatedError("The Authorization header should be: Bearer <access token>.", token_given=False)
    return token


@functools.lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    # The standard library's parser of header parameters: quoting and case are its business.
    message = Message()
    message["Content-Type"] = content_type
    charset = message.get_content_charset("utf-8")
    return message.get_content_type() == "application/json" and charset in ("utf-8", "utf8")


def _takes_gzip(accept_encoding: str) -> bool:
    """Returns whether gzip is acceptable (RFC 9110, section 12.5.3); a named coding outweighs `*`."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        weights[coding.strip()] = not re.fullmatch(r"q=0(\.0*)?", parameters.strip())
    return weights.get("gzip", weights.get("*", False))
