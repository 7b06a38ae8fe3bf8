"""Route templates of HTTP functions: parsing, precedence and matching.

Source: ASP.NET Core route templates and WebJobsRouteBuilder of the Functions HTTP extension, which orders routes by
literal before parameter, more constraints before fewer, and longer before shorter.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cmp_to_key
from urllib.parse import unquote
from uuid import UUID

from emulators.host.errors import StartupError

_PARAMETER = re.compile(r"\{(\*{0,2})([^{}:=?]+)((?::(?:[^{}()=?]+(?:\([^()]*\))?))*)(?:=([^{}?]*))?(\?)?\}")
_CONSTRAINT = re.compile(r":([a-zA-Z]+)(?:\(([^()]*)\))?")
# `%2F` stays as it is: a decoded slash would look like a separator.
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)

type Check = Callable[[str], bool]


def _parses(convert: Callable[[str], object]) -> Check:
    def check(value: str) -> bool:
        try:
            convert(value)
        except ValueError:
            return False
        return True

    return check


def _integer_within(bits: int) -> Check:
    limit = 1 << (bits - 1)
    return lambda value: bool(re.fullmatch(r"\s*[+-]?\d+\s*", value)) and -limit <= int(value) < limit


def _length(least: int, most: int | None = None) -> Check:
    return lambda value: len(value) >= least and (most is None or len(value) <= most)


def _number(compare: Callable[[int], bool]) -> Check:
    return lambda value: _integer_within(64)(value) and compare(int(value))


def _constraint(name: str, argument: str | None) -> Check:
    numbers = [int(part) for part in argument.split(",")] if argument and re.fullmatch(r"[\d, -]+", argument) else []
    match name.lower(), len(numbers):
        case "int", _:
            return _integer_within(32)
        case "long", _:
            return _integer_within(64)
        case "bool", _:
            return lambda value: value.lower() in {"true", "false"}
        case "decimal" | "double" | "float", _:
            return _parses(float)
        case "datetime", _:
            return _parses(datetime.fromisoformat)
        case "guid", _:
            return _parses(UUID)
        case "alpha", _:
            return lambda value: bool(re.fullmatch("[a-zA-Z]*", value))
        case "required", _:
            return bool
        case "minlength", 1:
            return _length(numbers[0])
        case "maxlength", 1:
            return _length(0, numbers[0])
        case "length", 1:
            return _length(numbers[0], numbers[0])
        case "length", 2:
            return _length(numbers[0], numbers[1])
        case "min", 1:
            return _number(lambda value: value >= numbers[0])
        case "max", 1:
            return _number(lambda value: value <= numbers[0])
        case "range", 2:
            return _number(lambda value: numbers[0] <= value <= numbers[1])
        case "regex", _ if argument:
            pattern = re.compile(argument, re.IGNORECASE)
            return lambda value: bool(pattern.search(value))
        case _:
            raise ValueError(f"unknown constraint {name}{f'({argument})' if argument else ''}")


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    checks: tuple[Check, ...]
    default: str | None
    optional: bool
    catch_all: bool


@dataclass(frozen=True, slots=True)
class _Segment:
    literal: str | None
    parameter: _Parameter | None


@dataclass(frozen=True, slots=True)
class Match:
    """A route that fits: its target, or None for HEAD where only 405 with `allow` can be answered."""

    target: object
    parameters: dict[str, str]
    allow: str | None = None


@dataclass(slots=True)
class Route:
    """One template with its methods (None: all of them)."""

    template: str
    methods: frozenset[str] | None
    target: object
    segments: list[_Segment] = field(init=False)
    parameters: list[_Parameter] = field(init=False)
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self.segments, self.parameters = [], []
        expression = ""
        texts = self.template.strip("/").split("/") if self.template.strip("/") else []
        for index, text in enumerate(texts):
            if not text:
                raise ValueError("a segment is empty")
            expression += self._segment(text, last=index == len(texts) - 1)
        self.pattern = re.compile(expression + "/?", re.IGNORECASE)

    def _segment(self, text: str, *, last: bool) -> str:
        expression, position = "", 0
        found = list(_PARAMETER.finditer(text))
        for match in found:
            expression += _literal(text[position : match.start()])
            parameter = _parameter(match)
            if parameter.catch_all and not (last and match.group() == text):
                raise ValueError("a catch-all parameter must be the whole last segment")
            if parameter.name in {known.name for known in self.parameters}:
                raise ValueError(f"the parameter {parameter.name} occurs twice")
            self.parameters.append(parameter)
            expression += "(.*)" if parameter.catch_all else "([^/]+?)"
            position = match.end()
        expression += _literal(text[position:])
        first = self.parameters[-len(found)] if found and found[0].start() == 0 else None
        self.segments.append(_Segment(None if first else text.partition("{")[0].lower(), first))
        whole = len(found) == 1 and found[0].group() == text
        if whole and (self.parameters[-1].optional or self.parameters[-1].catch_all or self.parameters[-1].default):
            return f"(?:/{expression})?"
        return f"/{expression}"

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters when this decoded path fits; parameters without a value are left out."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values = {}
        for parameter, value in zip(self.parameters, found.groups(), strict=True):
            text = value or parameter.default
            if not text:
                if parameter.optional or parameter.catch_all:
                    continue
                return None
            if not all(check(text) for check in parameter.checks):
                return None
            values[parameter.name] = text
        return values


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError(f"{text!r} has an unmatched brace")
    return re.escape(text)


def _parameter(match: re.Match[str]) -> _Parameter:
    stars, name, constraints, default, optional = match.groups()
    checks = tuple(_constraint(*found) for found in _CONSTRAINT.findall(constraints or ""))
    return _Parameter(name, checks, default, bool(optional), bool(stars))


def _compare(left: Route, right: Route) -> int:
    for one, other in zip(left.segments, right.segments, strict=False):
        if (one.parameter is None) != (other.parameter is None):
            return -1 if one.parameter is None else 1
        if one.parameter and other.parameter:
            constraints = len(other.parameter.checks) - len(one.parameter.checks)
            if constraints:
                return constraints
            if one.parameter.catch_all != other.parameter.catch_all:
                return 1 if one.parameter.catch_all else -1
        elif one.literal != other.literal:
            return -1 if str(one.literal) < str(other.literal) else 1
    return len(right.segments) - len(left.segments)


class Router:
    """Finds the function of a request: by path, then by method."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._ordered = sorted(routes, key=cmp_to_key(_compare))
        literal = {"/" + route.template.strip("/") for route in self._ordered if not route.parameters}
        # The usual paths need no search; everything that fits them is found once, in order.
        self._known = {path: self._fitting(path) for path in literal}

    def find(self, method: str, raw_path: str) -> Match | None:
        """The route for a percent-encoded path; None is answered 404, a method that no route takes included."""
        fitting = self._known.get(raw_path)
        if fitting is None:
            path = unquote(_ENCODED_SLASH.sub("%252F", raw_path)) if "%" in raw_path else raw_path
            fitting = self._fitting(path)
        for route, parameters in fitting:
            if _accepts(route, method):
                return Match(route.target, parameters)
        if method == "HEAD" and fitting:
            return Match(None, {}, ", ".join(sorted(fitting[0][0].methods or ())))
        return None

    def _fitting(self, path: str) -> list[tuple[Route, dict[str, str]]]:
        matches = ((route, route.match(path)) for route in self._ordered)
        return [(route, parameters) for route, parameters in matches if parameters is not None]


def _accepts(route: Route, method: str) -> bool:
    # HEAD goes to the function that takes GET, as the host does since it maps HEAD itself.
    return route.methods is None or method in route.methods or (method == "HEAD" and "GET" in route.methods)


def build_route(function: str, prefix: str, template: str | None, methods: Iterable[str], target: object) -> Route:
    """The route of an HTTP trigger; an absent template means the function's name. Raises StartupError."""
    full = "/".join(part for part in (prefix, (template or function).strip("/")) if part)
    try:
        return Route(full, frozenset(method.upper() for method in methods) or None, target)
    except (ValueError, re.error) as error:
        raise StartupError(f"function {function}: route {template!r}: {error}") from error
