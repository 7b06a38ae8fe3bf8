"""The OData filters of the send and group calls, compiled to predicates.

Grammar and precedence: Microsoft Learn, "OData filter syntax in the Azure Web PubSub service".
"""

import operator
import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import Any, Final, Protocol

type Value = str | int | bool | Set[str] | None
type Evaluate = Callable[["Subject"], Value]
type Predicate = Callable[["Subject"], bool]

_MAX_LENGTH: Final = 8192
_MAX_DEPTH: Final = 50
_TOKEN = re.compile(r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<int>[+-]?\d+)|(?P<word>[A-Za-z]+)|(?P<mark>[(),]))")
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


class Subject(Protocol):
    """What a filter can ask of a connection."""

    @property
    def id(self) -> str:
        """The connection's id."""
        ...

    @property
    def user_id(self) -> str | None:
        """The user who connected, if the token named one."""
        ...

    @property
    def groups(self) -> Set[str]:
        """The groups it is in."""
        ...


class FilterError(ValueError):
    """The filter cannot be understood; the text says where."""


@dataclass(frozen=True, slots=True)
class _Expression:
    """A part of a filter: its type (`bool`, `string`, `int`, `null` or `collection`) and how to evaluate it."""

    type: str
    evaluate: Evaluate


_IDENTIFIERS: Final[dict[str, _Expression]] = {
    "userid": _Expression("string", lambda subject: subject.user_id),
    "connectionid": _Expression("string", lambda subject: subject.id),
    "groups": _Expression("collection", lambda subject: subject.groups),
    "true": _Expression("bool", lambda _: True),
    "false": _Expression("bool", lambda _: False),
    "null": _Expression("null", lambda _: None),
}

# Name -> (types of the arguments, how many of them are required, type of the result, implementation).
_FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], int, str, Callable[..., Value]]]] = {
    "tolower": (("string",), 1, "string", str.lower),
    "toupper": (("string",), 1, "string", str.upper),
    "trim": (("string",), 1, "string", str.strip),
    "concat": (("string", "string"), 2, "string", operator.add),
    "substring": (
        ("string", "int", "int"),
        2,
        "string",
        lambda text, start, length=None: text[start:] if length is None else text[start : start + length],
    ),
    "startswith": (("string", "string"), 2, "bool", str.startswith),
    "endswith": (("string", "string"), 2, "bool", str.endswith),
    "contains": (("string", "string"), 2, "bool", operator.contains),
    "indexof": (("string", "string"), 2, "int", str.find),
    "length": (("string|collection",), 1, "int", len),
}


def compile_filter(text: str) -> Predicate:
    """A predicate over connections.

    Raises FilterError when `text` is not a boolean expression of the grammar.
    """
    if len(text) > _MAX_LENGTH:
        raise FilterError(f"The filter has {len(text)} characters; at most {_MAX_LENGTH} are accepted.")
    evaluate = _Parser(text).parse().evaluate
    return lambda subject: bool(evaluate(subject))


class _Parser:
    """Recursive descent over the tokens: or, and, comparison, `not`, primary, in rising order of precedence."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokenize(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> _Expression:
        expression = self._or()
        if self._next < len(self._tokens):
            raise FilterError(f"Invalid syntax at {self._tokens[self._next]!r}: the expression ends before it.")
        return _expect(expression, "bool", "the filter")

    def _or(self) -> _Expression:
        return self._logical("or", self._and, any)

    def _and(self) -> _Expression:
        return self._logical("and", self._comparison, all)

    def _logical(
        self, word: str, operand: Callable[[], _Expression], combine: Callable[[Iterable[Value]], bool]
    ) -> _Expression:
        operands = [operand()]
        while self._take(word):
            operands.append(operand())
        if len(operands) == 1:
            return operands[0]
        parts = [_expect(each, "bool", f"an operand of {word!r}").evaluate for each in operands]
        return _Expression("bool", lambda subject: combine(part(subject) for part in parts))

    def _comparison(self) -> _Expression:
        left = self._unary()
        if self._take("in"):
            return self._membership(left)
        for word, compare in _COMPARISONS.items():
            if self._take(word):
                return _compare(word, compare, left, self._unary())
        return left

    def _membership(self, left: _Expression) -> _Expression:
        find = left.evaluate
        if self._take("("):
            first = self._or()
            if first.type == "collection":
                self._require(")")
                members = first.evaluate
                return _Expression("bool", lambda subject: find(subject) in (members(subject) or ()))  # type: ignore[operator]
            listed = [first.evaluate]
            while self._take(","):
                listed.append(self._unary().evaluate)
            self._require(")")
            return _Expression("bool", lambda subject: find(subject) in [each(subject) for each in listed])
        members = _expect(self._unary(), "collection", "the right side of 'in'").evaluate
        return _Expression("bool", lambda subject: find(subject) in (members(subject) or ()))  # type: ignore[operator]

    def _unary(self) -> _Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FilterError(f"The filter is nested more than {_MAX_DEPTH} deep.")
        if self._take("not"):
            operand = _expect(self._unary(), "bool", "the operand of 'not'").evaluate
            expression = _Expression("bool", lambda subject: not operand(subject))
        else:
            expression = self._primary()
        self._depth -= 1
        return expression

    def _primary(self) -> _Expression:
        token = self._pop()
        if token == "(":  # noqa: S105 - a token of the grammar
            inner = self._or()
            self._require(")")
            return inner
        if token.startswith("'"):
            text = token[1:-1].replace("''", "'")
            return _Expression("string", lambda _: text)
        if token.lstrip("+-").isdigit():
            number = int(token)
            return _Expression("int", lambda _: number)
        if token.lower() in _FUNCTIONS and self._take("("):
            return self._call(token)
        if (known := _IDENTIFIERS.get(token.lower())) is not None:
            return known
        expected = "userId, connectionId, groups, a literal or a function"
        raise FilterError(f"Invalid syntax at {token!r}: expected {expected}.")

    def _call(self, name: str) -> _Expression:
        types, required, result, implementation = _FUNCTIONS[name.lower()]
        arguments = [self._or()]
        while self._take(","):
            arguments.append(self._or())
        self._require(")")
        if not required <= len(arguments) <= len(types):
            raise FilterError(f"{name} takes {required} to {len(types)} arguments, not {len(arguments)}.")
        parts = [
            _expect(argument, expected, f"an argument of {name}").evaluate
            for argument, expected in zip(arguments, types, strict=False)
        ]

        def evaluate(subject: Subject) -> Value:
            values = [part(subject) for part in parts]
            return None if None in values else implementation(*values)

        return _Expression(result, evaluate)

    def _take(self, token: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next].lower() == token:
            self._next += 1
            return True
        return False

    def _pop(self) -> str:
        if self._next == len(self._tokens):
            raise FilterError("The filter ends where an operand is expected.")
        self._next += 1
        return self._tokens[self._next - 1]

    def _require(self, token: str) -> None:
        if not self._take(token):
            found = repr(self._tokens[self._next]) if self._next < len(self._tokens) else "the end"
            raise FilterError(f"Invalid syntax: expected {token!r}, found {found}.")


def _tokenize(text: str) -> list[str]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise FilterError(f"Invalid syntax at {text[position : position + 20]!r}.")
        tokens.append(match[0].lstrip())
        position = match.end()
    return tokens


def _expect(expression: _Expression, types: str, what: str) -> _Expression:
    # A null string is a value that functions pass through; only the literal `null` has the type "null".
    if expression.type not in types.split("|"):
        raise FilterError(f"Invalid type of {what}: {expression.type!r}, expected {types.replace('|', ' or ')!r}.")
    return expression


def _compare(word: str, compare: Callable[[Any, Any], bool], left: _Expression, right: _Expression) -> _Expression:
    if "null" not in (left.type, right.type) and left.type != right.type:
        raise FilterError(f"{word!r} cannot compare {left.type!r} with {right.type!r}.")
    if "collection" in (left.type, right.type):
        raise FilterError(f"{word!r} cannot compare collections; use 'in'.")
    first, second, equality = left.evaluate, right.evaluate, word in ("eq", "ne")

    def evaluate(subject: Subject) -> bool:
        a, b = first(subject), second(subject)
        return compare(a, b) if equality or (a is not None and b is not None) else False

    return _Expression("bool", evaluate)
