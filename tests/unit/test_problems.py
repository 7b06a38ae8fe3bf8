"""Every problem of the contract has its class, its status and its section in the documentation."""

import json
import re
from pathlib import Path

import pytest

from shared import problems
from shared.errors import DependencyUnavailableError, DirectoryMissingError
from shared.problems import DOCUMENTATION, FieldError, ForbiddenError, InvalidRequestError, ProblemError, problem_of

CONTRACT = {
    "malformed-request": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "agent-not-online": 404,
    "method-not-allowed": 405,
    "session-ended": 410,
    "body-too-large": 413,
    "unsupported-media-type": 415,
    "invalid-request": 422,
    "too-many-requests": 429,
    "internal-error": 500,
    "dependency-unavailable": 503,
}
PAGE = Path("docs/errors.md").read_text(encoding="utf-8")


def test_the_classes_are_those_of_the_contract() -> None:
    assert {problem.code: problem.status for problem in ProblemError.__subclasses__()} == CONTRACT


def test_every_code_has_a_section_with_what_to_do_and_an_example() -> None:
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert sections.keys() == CONTRACT.keys()
    for code, status in CONTRACT.items():
        assert f"**{status}.**" in sections[code]
        assert "What to do:" in sections[code]
        (example,) = re.findall(r"```json\n(.*?)```", sections[code], re.DOTALL)
        assert {"status": status, "code": code}.items() <= json.loads(example).items()


def test_a_body_has_the_members_of_rfc_9457() -> None:
    assert json.loads(ForbiddenError("Not yours.").body()) == {
        "type": f"{DOCUMENTATION}#forbidden",
        "title": "Not allowed for this caller",
        "status": 403,
        "detail": "Not yours.",
        "code": "forbidden",
    }


def test_field_errors_are_listed() -> None:
    body = json.loads(InvalidRequestError([FieldError("/a", "is missing"), FieldError("", "is odd")]).body())
    assert body["errors"] == [{"pointer": "/a", "detail": "is missing"}, {"pointer": "", "detail": "is odd"}]
    assert body["detail"] == "/a: is missing; body: is odd"


@pytest.mark.parametrize(
    "error", [DependencyUnavailableError("redis", "redis.internal:6379 refused"), DirectoryMissingError()]
)
def test_what_is_down_is_named_without_its_address(error: DependencyUnavailableError | DirectoryMissingError) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.headers["Retry-After"]) == (503, str(problems.RETRY_AFTER_SECONDS))
    assert "redis.internal" not in problem.body().decode()
