"""Evaluates a template with given parameters to the resources that it would deploy."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tests.infra.bicep.functions import FUNCTIONS, SUBSCRIPTION
from tests.infra.bicep.syntax import BicepError, Declaration, Source, parse, text_of

# What Azure fills in after a deployment: {type: {path: text with {name}}}. A path that is not here is an error.
type RuntimeValues = Mapping[str, Mapping[str, str]]

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\'": "'", "\\\\": "\\", "\\$": "$"}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_TYPES: dict[str, type] = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


class _AbsentError(Exception):
    """`.?` met null: the whole chain is null."""


class ParameterError(BicepError):
    """A parameter is missing, unknown, of the wrong type, or outside what its decorators allow."""


@dataclass
class Resource:
    """A resource with its evaluated body; `scope` is the resource that it extends, if any."""

    type: str
    api_version: str
    name: str
    id: str
    body: dict[str, Any]
    existing: bool
    file: Path
    runtime: Mapping[str, str]
    children: dict[str, "Resource"] = field(default_factory=dict)
    scope: "Resource | None" = None

    @property
    def properties(self) -> dict[str, Any]:
        """The part that belongs to the resource provider."""
        value = self.body.get("properties", {})
        assert isinstance(value, dict)
        return value


@dataclass
class Deployment:
    """Everything that one template and its modules deploy, in the order of the files."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of_type(self, kind: str) -> list[Resource]:
        """Returns the resources of a type that are deployed, not merely referred to."""
        return [item for item in self.resources if item.type.lower() == kind.lower() and not item.existing]

    def only(self, kind: str) -> Resource:
        """Returns the one resource of a type."""
        [found] = self.of_type(kind)
        return found


@dataclass(frozen=True)
class _Runtime:
    """`resource.properties.…` before it is known which value is meant."""

    resource: Resource
    path: str


def deploy(path: Path, parameters: Mapping[str, Any], runtime: RuntimeValues) -> Deployment:
    """Returns what the template deploys. Raises ParameterError, and BicepError for what is not supported."""
    return _Template(parse(path.resolve()), parameters, runtime, f"{SUBSCRIPTION}/resourceGroups/rg").run()


def read_parameters(path: Path, environ: Mapping[str, str]) -> tuple[Path, dict[str, Any]]:
    """Returns the template and the values of a .bicepparam file. Raises BicepError for what it cannot be."""
    values: dict[str, Any] = {}
    template: Path | None = None
    evaluator = _Template(Source(path, "parameters", ()), {}, {}, "")

    def variable(name: str, *default: str) -> str:
        value = environ.get(name) or next(iter(default), None)
        if value is None:
            raise ParameterError(f"{path}: the environment variable {name} is not set")
        return value

    evaluator.functions["readEnvironmentVariable"] = variable
    for statement in re.split(r"\n(?=using|param)", re.sub(r"(?m)^//.*\n", "", path.read_text())):
        if match := re.match(r"\s*using '([^']+)'", statement):
            template = path.parent / match[1]
        elif match := re.match(r"\s*param (\w+) = (.*)", statement, re.DOTALL):
            values[match[1]] = evaluator.evaluate_text(match[2].strip())
        elif statement.strip():
            raise BicepError(f"{path}: cannot be read: {statement.strip()[:60]!r}")
    if template is None:
        raise BicepError(f"{path}: it names no template")
    return template, values


class _Template:
    def __init__(self, source: Source, given: Mapping[str, Any], runtime: RuntimeValues, group_id: str) -> None:
        self._source = source
        self._given = given
        self._runtime = runtime
        self._group_id = group_id
        self._declarations = {item.name: item for item in source.declarations if item.kind != "output"}
        self._values: dict[str, Any] = {}
        self._deployment = Deployment()
        self.functions = dict(FUNCTIONS)

    def run(self) -> Deployment:
        unknown = self._given.keys() - {item.name for item in self._source.of_kind("param")}
        if unknown:
            raise ParameterError(f"{self._source.path}: it has no parameter {', '.join(sorted(unknown))}")
        for item in self._source.declarations:
            if item.kind != "output":
                self._value(item.name, item.node)
        for item in self._source.of_kind("output"):
            assert item.expression is not None
            self._deployment.outputs[item.name] = self._settled(self._evaluate(item.expression, {}))
        return self._deployment

    def evaluate_text(self, text: str) -> Any:
        """Returns the value of an expression on its own."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "expression.bicep")
            file.write_text(f"var it = {text}\n")
            expression = parse(file).declarations[0].expression
        assert expression is not None
        return self._evaluate(expression, {})

    # -- declarations ------------------------------------------------------------------------------------------------

    def _value(self, name: str, node: Node) -> Any:
        if name not in self._values:
            declaration = self._declarations.get(name)
            if declaration is None:
                raise BicepError(f"{self._source.location(node)}: {name} is not declared")
            match declaration.kind:
                case "param":
                    self._values[name] = self._parameter(declaration)
                case "var":
                    assert declaration.expression is not None
                    self._values[name] = self._evaluate(declaration.expression, {})
                case _:
                    self._values[name] = self._deployed(declaration)
        return self._values[name]

    def _parameter(self, item: Declaration) -> Any:
        where = f"{self._source.path.name}: parameter {item.name}"
        if item.name in self._given:
            value = self._given[item.name]
        elif item.expression is not None:
            value = self._evaluate(item.expression, {})
        else:
            raise ParameterError(f"{where} is missing")
        base = item.type_text.removesuffix("[]")
        expected = list if item.type_text.endswith("[]") else _TYPES[base]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ParameterError(f"{where} must be of type {item.type_text}, not {value!r}")
        limits = {
            name: self._evaluate(call.named_children[1].named_children[0], {})
            for name, call in item.decorators.items()
            if name in {"allowed", "minValue", "maxValue", "minLength", "maxLength"}
        }
        size = len(value) if isinstance(value, str | list) else value
        if "allowed" in limits and value not in limits["allowed"]:
            raise ParameterError(f"{where} must be one of {limits['allowed']}, not {value!r}")
        for low, high in (("minValue", "maxValue"), ("minLength", "maxLength")):
            if low in limits and size < limits[low]:
                raise ParameterError(f"{where}: {low} is {limits[low]}, not {value!r}")
            if high in limits and size > limits[high]:
                raise ParameterError(f"{where}: {high} is {limits[high]}, not {value!r}")
        return value

    def _deployed(self, item: Declaration) -> Any:
        make = self._module if item.kind == "module" else self._resource
        if item.loop is None:
            return make(item, {}) if self._wanted(item, {}) else None
        return [make(item, local) if self._wanted(item, local) else None for local in self._iterations(item.loop, {})]

    def _wanted(self, item: Declaration, local: dict[str, Any]) -> bool:
        return item.condition is None or bool(self._evaluate(item.condition, local))

    def _module(self, item: Declaration, local: dict[str, Any]) -> Deployment:
        assert item.expression is not None
        fields = dict(self._pairs(item.expression, local))
        self._evaluated_dependencies(fields)
        child = _Template(
            parse((self._source.path.parent / item.type_text).resolve()),
            {name: self._settled(value) for name, value in fields.get("params", {}).items()},
            self._runtime,
            self._group_id,
        ).run()
        self._deployment.resources += child.resources
        return child

    def _resource(
        self, item: Declaration, local: dict[str, Any], parent: Resource | None = None, *, inherited: bool = False
    ) -> Resource:
        assert item.expression is not None
        fields = dict(self._pairs(item.expression, local))
        self._evaluated_dependencies(fields)
        parent = fields.pop("parent", parent)
        scope = fields.pop("scope", None)
        kind, _, version = item.type_text.partition("@")
        if parent is not None and "/" not in kind:
            kind, version = f"{parent.type}/{kind}", parent.api_version
        name = str(fields["name"])
        base = parent or scope
        if kind == "Microsoft.Resources/resourceGroups":
            resource_id = f"{SUBSCRIPTION}/resourceGroups/{name}"
        elif parent is not None:
            resource_id = f"{parent.id}/{kind.rpartition('/')[2]}/{name}"
        else:
            resource_id = f"{base.id if base else self._group_id}/providers/{kind}/{name}"
        resource = Resource(
            kind,
            version,
            name,
            resource_id,
            {key: self._settled(value) for key, value in fields.items()},
            item.existing or inherited,
            self._source.path,
            self._runtime.get(kind, {}),
            scope=scope,
        )
        self._deployment.resources.append(resource)
        for inner in item.nested:
            resource.children[inner.name] = self._resource(inner, local, resource)
        return resource

    def _evaluated_dependencies(self, fields: dict[str, Any]) -> None:
        fields.pop("dependsOn", None)

    # -- expressions -------------------------------------------------------------------------------------------------

    def _evaluate(self, node: Node, local: Mapping[str, Any]) -> Any:
        try:
            return self._chain(node, local)
        except _AbsentError:
            return None

    def _chain(self, node: Node, local: Mapping[str, Any]) -> Any:
        """Like _evaluate, but an absent link ends the chain that the caller is part of."""
        children = [child for child in node.named_children if child.type != "comment"]
        match node.type:
            case "identifier":
                name = text_of(node)
                return local[name] if name in local else self._value(name, node)
            case "string":
                return self._string(node, local)
            case "number":
                return int(text_of(node))
            case "boolean":
                return text_of(node) == "true"
            case "null":
                return None
            case "array":
                return [self._evaluate(child, local) for child in children]
            case "object":
                return dict(self._pairs(node, local))
            case "parenthesized_expression":
                return self._evaluate(children[0], local)
            case "unary_expression":
                return not self._evaluate(children[0], local)
            case "ternary_expression":
                condition, yes, no = children
                return self._evaluate(yes if self._evaluate(condition, local) else no, local)
            case "binary_expression":
                return self._binary(node, children, local)
            case "member_expression":
                return self._member(self._chain(children[0], local), text_of(children[1]), node)
            case "subscript_expression":
                return self._chain(children[0], local)[self._evaluate(children[1], local)]
            case "resource_expression":
                return self._evaluate(children[0], local).children[text_of(children[1])]
            case "call_expression":
                return self._call(node, children, local)
            case "lambda_expression":
                parameter, body = text_of(children[0]), children[1]
                return lambda value: self._evaluate(body, {**local, parameter: value})
            case "for_statement":
                return [self._evaluate(children[-1], inner) for inner in self._iterations(node, local)]
        raise BicepError(f"{self._source.location(node)}: {node.type} is not supported")

    def _pairs(self, node: Node, local: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for item in node.named_children:
            if item.type == "comment" or item.named_children[0].type == "resource_declaration":
                continue
            key, value = (child for child in item.named_children if child.type != "comment")
            if text_of(key) == "dependsOn":
                continue
            yield self._string(key, local) if key.type == "string" else text_of(key), self._evaluate(value, local)

    def _iterations(self, loop: Node, local: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        variable, over, _ = (child for child in loop.named_children if child.type != "comment")
        names = [text_of(child) for child in variable.named_children] or [text_of(variable)]
        for index, item in enumerate(self._evaluate(over, local)):
            yield {**local, **dict(zip(names, (item, index), strict=False))}

    def _string(self, node: Node, local: Mapping[str, Any]) -> str:
        source = node.text or b""
        if source.startswith(b"'''"):
            return source[3:-3].decode().removeprefix("\n")
        parts: list[str] = []
        at = node.start_byte + 1

        def literal(until: int) -> str:
            return source[at - node.start_byte : until - node.start_byte].decode()

        for child in node.named_children:
            parts.append(literal(child.start_byte))
            if child.type == "interpolation":
                value = self._settled(self._evaluate(child.named_children[0], local))
                parts.append(FUNCTIONS["string"](value))
            else:
                text = text_of(child)
                parts.append(_ESCAPES[text] if child.type == "escape_sequence" else text)
            at = child.end_byte
        parts.append(literal(node.end_byte - 1))
        return "".join(parts)

    def _binary(self, node: Node, children: list[Node], local: Mapping[str, Any]) -> Any:
        left, right = children
        sign = next(text_of(child) for child in node.children if not child.is_named)
        first = self._evaluate(left, local)
        if sign == "??":
            return self._evaluate(right, local) if first is None else first
        if sign == "&&":
            return bool(first) and bool(self._evaluate(right, local))
        if sign == "||":
            return bool(first) or bool(self._evaluate(right, local))
        return _OPERATORS[sign](first, self._evaluate(right, local))

    def _call(self, node: Node, children: list[Node], local: Mapping[str, Any]) -> Any:
        name = text_of(children[0])
        if name not in self.functions:
            raise BicepError(f"{self._source.location(node)}: the function {name} is not supported")
        arguments = [self._settled(self._evaluate(child, local)) for child in children[1].named_children]
        return self.functions[name](*arguments)

    def _member(self, value: Any, name: str, node: Node) -> Any:
        if value is None:
            if any(text_of(child) == ".?" for child in node.children):
                raise _AbsentError
            raise BicepError(f"{self._source.location(node)}: .{name} of something that is not deployed")
        if isinstance(value, Deployment):
            return value.outputs if name == "outputs" else self._unknown(node)
        if isinstance(value, Resource):
            if name in {"id", "name", "type"}:
                return getattr(value, name)
            return _Runtime(value, name)
        if isinstance(value, _Runtime):
            return _Runtime(value.resource, f"{value.path}.{name}")
        if isinstance(value, dict) and name in value:
            return value[name]
        if any(text_of(child) == ".?" for child in node.children):
            raise _AbsentError
        return self._unknown(node)

    def _unknown(self, node: Node) -> Any:
        raise BicepError(f"{self._source.location(node)}: {text_of(node)} is not known")

    def _settled(self, value: Any) -> Any:
        """Puts the values that Azure fills in into their places."""
        if isinstance(value, _Runtime):
            form = value.resource.runtime.get(value.path)
            if form is None:
                raise BicepError(f"{value.resource.type} is not known to have {value.path}")
            return form.format(name=value.resource.name)
        if isinstance(value, dict):
            return {key: self._settled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._settled(item) for item in value]
        return value
