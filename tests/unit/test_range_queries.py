"""Query parameters that ask for a span of time."""

import pytest
from pydantic import ValidationError

from shared.domain.uptime import Span
from shared.problems import InvalidRequestError
from shared.requests import RangeQuery

NOW = 1_795_000_000_000


def span(**params: str) -> Span:
    return RangeQuery.model_validate(params).span(NOW, length=60)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-18T11:06:40.000Z", "2026-11-18T11:06:40Z", "2026-11-18T12:06:40+01:00", "2026-11-18T11:06:40"),
        "2026-11-18T12:06:40 01:00",  # a + that was not percent-encoded
    ],
)
def test_one_instant_has_many_spellings(text: str) -> None:
    assert span(**{"from": text, "to": text}) == Span(NOW, NOW)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1795000000000", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "é"]
)
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(ValidationError, match=r"ISO 8601|1970"):
        span(to=text)


def test_a_range_ends_now_and_has_its_usual_length() -> None:
    assert span() == Span(NOW - 60, NOW)
    assert span(to="1970-01-01T00:00:00.030Z") == Span(0, 30)
    assert span(**{"from": "1970-01-01T00:00:00.030Z"}) == Span(30, NOW)


def test_a_range_may_be_empty_but_not_turned_around() -> None:
    assert span(**{"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}).length == 0
    with pytest.raises(InvalidRequestError, match="/from"):
        span(**{"from": "2026-01-01T00:00:00.001Z", "to": "2026-01-01T00:00:00Z"})
