"""What an API caller can be told went wrong: one class per code of the contract, made into responses in one place.

Each code has a section in docs/errors.md, which the response's `type` points to (RFC 9457).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from shared.errors import DependencyUnavailableError, DirectoryMissingError

DOCUMENTATION = "https://github.com/facility-pulse/facility-pulse/blob/main/docs/errors.md"
"""Where the codes are explained; each heading there is a code."""

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `pointer` is a JSON Pointer (RFC 6901) into the body."""

    pointer: str
    detail: str


class ProblemError(Exception):
    """A problem to answer with. Subclasses give it its status, code and title."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Returns the problem as JSON."""
        problem: dict[str, object] = {
            "type": f"{DOCUMENTATION}#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            problem["errors"] = [{"pointer": error.pointer, "detail": error.detail} for error in self.errors]
        return json.dumps(problem, separators=(",", ":")).encode()


class MalformedRequestError(ProblemError):
    """The body is not JSON."""

    status, code, title = 400, "malformed-request", "The request cannot be read"


class UnauthenticatedError(ProblemError):
    """There is no valid access token."""

    status, code, title = 401, "unauthenticated", "A valid access token is required"

    def __init__(self, detail: str, *, token_given: bool = True) -> None:
        # RFC 6750, section 3.1: no error code when the request carried no token at all.
        challenge = 'Bearer error="invalid_token"' if token_given else "Bearer"
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class ForbiddenError(ProblemError):
    """The caller may not do this, or not here."""

    status, code, title = 403, "forbidden", "Not allowed for this caller"


class NotFoundError(ProblemError):
    """There is no such thing."""

    status, code, title = 404, "not-found", "There is no such resource"


class AgentNotOnlineError(ProblemError):
    """The agent has no live session."""

    status, code, title = 404, "agent-not-online", "The agent is not online"


class MethodNotAllowedError(ProblemError):
    """The address exists, the method does not."""

    status, code, title = 405, "method-not-allowed", "Method not allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(
            f"{method} is not supported here; use {' or '.join(allowed)}.", headers={"Allow": ", ".join(allowed)}
        )


class SessionEndedError(ProblemError):
    """The session was ended by command and stays ended."""

    status, code, title = 410, "session-ended", "The session has been ended"


class BodyTooLargeError(ProblemError):
    """The body is over the limit."""

    status, code, title = 413, "body-too-large", "The body is too large"


class UnsupportedMediaTypeError(ProblemError):
    """The body is not said to be JSON."""

    status, code, title = 415, "unsupported-media-type", "The body must be JSON"


class InvalidRequestError(ProblemError):
    """The body is JSON, but not what is asked for here."""

    status, code, title = 422, "invalid-request", "The request is not valid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{e.pointer or 'body'}: {e.detail}" for e in errors[:3]), errors=errors)


class TooManyRequestsError(ProblemError):
    """The caller is over the rate limit."""

    status, code, title = 429, "too-many-requests", "Too many requests"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail, headers=_wait(retry_after))


class InternalError(ProblemError):
    """A fault of ours."""

    status, code, title = 500, "internal-error", "Something went wrong on our side"

    def __init__(self, correlation_id: str) -> None:
        super().__init__(f"The error has been logged under {correlation_id}.")


class UnavailableError(ProblemError):
    """Something this call needs is down."""

    status, code, title = 503, "dependency-unavailable", "A service that this call needs is unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers=_wait(RETRY_AFTER_SECONDS))


def problem_of(error: DependencyUnavailableError | DirectoryMissingError) -> ProblemError:
    """Returns the problem that a caller is told for an error below; addresses and reasons stay in the log."""
    if isinstance(error, DirectoryMissingError):
        return UnavailableError("The directory of facilities has not been loaded yet.")
    return UnavailableError(f"{error.dependency} is not available. Nothing was changed; try again shortly.")


def refused_by_store(correlation_id: str) -> ProblemError:
    """Returns the problem that a caller is told when a database answers, but refuses; its reason stays in the log."""
    return UnavailableError(
        f"sql refuses what this call needs; the reason has been logged under {correlation_id}. Nothing was changed."
    )


def _wait(seconds: int) -> dict[str, str]:
    # Pages of other origins see only the headers that they are shown (Fetch standard, "CORS-safelisted").
    return {"Retry-After": str(seconds), "Access-Control-Expose-Headers": "Retry-After"}
