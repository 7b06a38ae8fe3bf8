"""The OData filters of the Web PubSub emulator, by the examples of Microsoft's reference."""

from dataclasses import dataclass, field

import pytest

from emulators.web_pubsub.filters import FilterError, compile_filter


@dataclass
class Subject:
    id: str = "c-1"
    user_id: str | None = "user-ab-de"
    groups: set[str] = field(default_factory=lambda: {"group1", "group2"})


@pytest.mark.parametrize(
    "text",
    [
        "userId eq 'user-ab-de'",
        "USERID EQ 'user-ab-de'",
        "userId ne null",
        "connectionId ne '123'",
        "'group1' in groups",
        "'group1' in (groups)",
        "userId in ('user1', 'user-ab-de')",
        "'group9' in groups or 'group2' in groups",
        "userId eq 'user-ab-de' and (not ('group9' in groups))",
        "not endswith(userId, 'milk')",
        "length(userId) le 10 and length(userId) gt 3",
        "tolower(toupper(userId)) eq userId",
        "trim(concat(' ', userId)) eq userId",
        "substring(userId,5,2) eq 'ab'",
        "startswith(userId,'user') and endswith(userId,'de') and contains(userId,'-ab-')",
        "indexof(userId,'-ab-') ge 0",
        "length(groups) gt 1",
        "true and not false",
        # `and` binds more tightly than `or`
        "true or true and false",
    ],
)
def test_a_filter_matches(text: str) -> None:
    assert compile_filter(text)(Subject())


@pytest.mark.parametrize(
    "text", ["userId eq 'user1'", "not (userId ne 'user1')", "length(userId) gt 99", "'g' in groups", "userId eq null"]
)
def test_a_filter_does_not_match(text: str) -> None:
    assert not compile_filter(text)(Subject())


def test_a_quote_is_doubled() -> None:
    assert compile_filter("userId eq 'o''hara'")(Subject(user_id="o'hara"))


def test_without_a_user_only_null_is_equal() -> None:
    nobody = Subject(user_id=None)
    assert compile_filter("userId eq null")(nobody)
    assert not compile_filter("length(userId) gt 0 or startswith(userId, 'u')")(nobody)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("userId", "type"),
        ("userId eq", "ends"),
        ("userId eq 'a", "syntax"),
        ("userName eq 'a'", "userName"),
        ("userId eq 5", "compare"),
        ("groups eq 'a'", "compare"),
        ("'a' in userId", "collection"),
        ("not length(userId) gt 5", "type"),
        ("length(userId, 'a') gt 5", "arguments"),
        ("(userId eq 'a'", "expected"),
        ("userId eq 'a' userId", "ends before"),
        ("userId like 'a%'", "like"),
        ("not " * 100 + "true", "nested"),
        ("x" * 10_000, "characters"),
    ],
)
def test_a_filter_outside_the_grammar_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FilterError, match=problem):
        compile_filter(text)
