"""Bicep source to declarations: what a file says, with expressions left as syntax nodes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))


class BicepError(Exception):
    """A file is not Bicep, or not the part of it that is supported; the message starts with file and line."""


@dataclass(frozen=True)
class Declaration:
    """One `param`, `var`, `resource`, `module` or `output`, with the decorators above it."""

    kind: str
    name: str
    node: Node
    expression: Node | None
    type_text: str = ""  # of a param or output: int, string[], …; of a resource or module: its type or path
    existing: bool = False
    condition: Node | None = None
    loop: Node | None = None
    decorators: dict[str, Node] = field(default_factory=dict)
    nested: tuple["Declaration", ...] = ()


@dataclass(frozen=True)
class Source:
    """A parsed file."""

    path: Path
    scope: str
    declarations: tuple[Declaration, ...]

    def of_kind(self, kind: str) -> list[Declaration]:
        """Returns the declarations of one kind, in their order."""
        return [item for item in self.declarations if item.kind == kind]

    def location(self, node: Node) -> str:
        """Returns `file:line` for messages."""
        return f"{self.path}:{node.start_point[0] + 1}"


def text_of(node: Node) -> str:
    """Returns the source text of a node."""
    return (node.text or b"").decode()


@cache
def parse(path: Path) -> Source:
    """Returns the declarations of a file. Raises BicepError at the first place that is not Bicep."""
    root = _PARSER.parse(path.read_bytes()).root_node
    for node in _walk(root):
        if node.type == "ERROR" or node.is_missing:
            raise BicepError(f"{path}:{node.start_point[0] + 1}: cannot be read: {text_of(node)[:60]!r}")
    scope = "resourceGroup"
    declarations: list[Declaration] = []
    decorators: dict[str, Node] = {}
    for node in root.named_children:
        match node.type:
            case "decorators":
                decorators = {text_of(call.named_children[0]): call for call in _calls(node)}
                continue
            case "target_scope_assignment":
                scope = text_of(node.named_children[0]).strip("'")
            case "metadata_declaration" | "comment" | "diagnostic_comment":
                continue
            case "parameter_declaration" | "variable_declaration" | "output_declaration":
                declarations.append(_plain(node, decorators))
            case "resource_declaration" | "module_declaration":
                declarations.append(_deployed(node, decorators))
            case _:
                raise BicepError(f"{path}:{node.start_point[0] + 1}: {node.type} is not supported")
        decorators = {}
    return Source(path, scope, tuple(declarations))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _calls(decorators: Node) -> Iterator[Node]:
    for decorator in decorators.named_children:
        yield decorator.named_children[0]


def _plain(node: Node, decorators: dict[str, Node]) -> Declaration:
    name, *rest = node.named_children
    kind = {"parameter_declaration": "param", "variable_declaration": "var", "output_declaration": "output"}[node.type]
    type_text = text_of(rest.pop(0)) if rest and rest[0].type == "type" else ""
    return Declaration(kind, text_of(name), node, rest[0] if rest else None, type_text, decorators=decorators)


def _deployed(node: Node, decorators: dict[str, Node]) -> Declaration:
    name, type_node, body = (child for child in node.named_children if child.type != "comment")
    existing = any(child.type == "existing" or text_of(child) == "existing" for child in node.children)
    loop = condition = None
    if body.type == "for_statement":
        loop, body = body, body.named_children[-1]
    if body.type == "if_statement":
        condition, body = body.named_children[0], body.named_children[-1]
    nested = tuple(
        _deployed(inner, {})
        for item in body.named_children
        for inner in item.named_children
        if inner.type == "resource_declaration"
    )
    kind = "module" if node.type == "module_declaration" else "resource"
    what = text_of(type_node).strip("'")
    return Declaration(kind, text_of(name), node, body, what, existing, condition, loop, decorators, nested)
