"""Query parameters and what is wrong with them."""

import pytest

from shared.domain.uptime import Span
from shared.problems import InvalidRequestError
from shared.queries import choice, instant, time_range, whole_number

NOW = 1_795_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-18T11:06:40.000Z", "2026-11-18T11:06:40Z", "2026-11-18T12:06:40+01:00", "2026-11-18T11:06:40"),
        "2026-11-18T12:06:40 01:00",  # a + that was not percent-encoded
    ],
)
def test_one_instant_has_many_spellings(text: str) -> None:
    assert instant({"from": text}, "from") == NOW


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1795000000000", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "é"]
)
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="/to"):
        instant({"to": text}, "to")


def test_a_range_ends_now_and_has_its_usual_length() -> None:
    assert time_range({}, NOW, length=60) == Span(NOW - 60, NOW)
    assert time_range({"to": "1970-01-01T00:00:00.030Z"}, NOW, length=60) == Span(0, 30)
    assert time_range({"from": "1970-01-01T00:00:00.030Z"}, NOW, length=60) == Span(30, NOW)


def test_a_range_may_be_empty_but_not_turned_around() -> None:
    both = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    assert time_range(both, NOW, length=60).length == 0
    with pytest.raises(InvalidRequestError, match="/from"):
        time_range(both | {"from": "2026-01-01T00:00:00.001Z"}, NOW, length=60)


def test_numbers_keep_to_their_limits() -> None:
    assert whole_number({}, "limit", 100, low=1, high=1_000) == 100
    assert [whole_number({"limit": text}, "limit", 5, low=1, high=1_000) for text in ("1", "1000")] == [1, 1_000]
    for text in ("0", "1001", "-1", "1.0", "1e2", "٣", "", " 1", "9" * 5_000):
        with pytest.raises(InvalidRequestError, match=r"/limit.*from 1 to 1000"):
            whole_number({"limit": text}, "limit", 5, low=1, high=1_000)


def test_a_choice_is_one_of_its_words() -> None:
    assert choice({}, "granularity", "hour", ("minute", "hour")) == "hour"
    assert choice({"granularity": "minute"}, "granularity", "hour", ("minute", "hour")) == "minute"
    with pytest.raises(InvalidRequestError, match=r"/granularity.*minute, hour"):
        choice({"granularity": "Minute"}, "granularity", "hour", ("minute", "hour"))
