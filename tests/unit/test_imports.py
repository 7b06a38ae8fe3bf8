"""Imports point one way, as the layout has them: functions, composition, adapters, domain."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("function_app", "functions", "shared")
ADAPTERS = ("shared.alerts", "shared.registry", "shared.stream", "shared.events", "shared.broadcast", "shared.store")
COMPOSITION = "shared.bootstrap"
# What an HTTP function is made of; it stands on the composition and therefore above everything else.
HTTP_HELPERS = ("shared.http", "shared.access")
# Names and values of adapters' modules that are no adapters: what triggers are bound to and what answers look like.
PLAIN_MODULES = (
    "shared.registry.keys",
    "shared.events.codec",
    "shared.broadcast.messages",
    "shared.broadcast.snapshots",
    "shared.pipeline.ingest",
)


@dataclass(frozen=True, order=True)
class Import:
    """One import statement's target; `line` is where it stands."""

    importer: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(*packages: str) -> list[Path]:
    found = []
    for package in packages:
        single = ROOT / f"{package}.py"
        found += [single] if single.exists() else sorted((ROOT / package).rglob("*.py"))
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports_of(path: Path) -> Iterator[Import]:
    importer = module_name(path)
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            origin = ".".join((*package, *([node.module] if node.module else [])))
            for alias in node.names:
                # `from shared import telemetry` names a module, `from shared.http import Call` something in one.
                nested = f"{origin}.{alias.name}"
                yield Import(importer, nested if is_module(nested) else origin, node.lineno)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def imports(*packages: str) -> list[Import]:
    found = sorted({each for path in sources(*packages) for each in imports_of(path)})
    assert found, f"nothing is imported by {packages}: has the layout changed?"
    return found


def report(offenders: list[Import]) -> str:
    return "\n".join(map(str, offenders))


def test_the_domain_needs_the_standard_library_only() -> None:
    offenders = [
        each
        for each in imports("shared/domain")
        if each.target.split(".")[0] not in sys.stdlib_module_names and not within(each.target, "shared.domain")
    ]
    assert not offenders, report(offenders)


def test_adapters_know_nothing_of_the_pipeline_the_composition_or_http() -> None:
    above = (
        COMPOSITION,
        *HTTP_HELPERS,
        "shared.pipeline",
        "shared.requests",
        "shared.load_directory",
        "shared.operate",
        "functions",
    )
    packages = (each.replace(".", "/") for each in ADAPTERS)
    offenders = [each for each in imports(*packages) if within(each.target, *above)]
    assert not offenders, report(offenders)


def test_the_pipeline_knows_nothing_of_the_composition_or_http() -> None:
    offenders = [each for each in imports("shared/pipeline") if within(each.target, COMPOSITION, *HTTP_HELPERS)]
    assert not offenders, report(offenders)


def test_functions_reach_adapters_through_the_composition_only() -> None:
    offenders = [
        each
        for each in imports("functions")
        if within(each.target, *ADAPTERS, "shared.pipeline", "shared.settings") and each.target not in PLAIN_MODULES
    ]
    assert not offenders, report(offenders)


def test_functions_know_no_client_of_a_service() -> None:
    libraries = ("azure.functions", "pydantic")
    offenders = [
        each
        for each in imports("functions")
        if each.target.split(".")[0] not in sys.stdlib_module_names
        and not within(each.target, "functions", "shared", *libraries)
    ]
    assert not offenders, report(offenders)


def test_only_the_function_app_imports_functions() -> None:
    offenders = [
        each
        for each in imports(*PRODUCT, "emulators")
        if within(each.target, "functions") and each.importer not in ("function_app", "functions")
    ]
    assert not offenders, report(offenders)


def test_only_entry_points_import_the_composition() -> None:
    allowed = ("function_app", "functions", "shared.http", "shared.load_directory", "shared.operate")
    offenders = [
        each for each in imports(*PRODUCT) if each.target == COMPOSITION and not within(each.importer, *allowed)
    ]
    assert not offenders, report(offenders)


@pytest.mark.parametrize("adapter", ["shared.store.opening", "shared.events.publisher", "shared.registry.credentials"])
def test_only_the_composition_names_concrete_adapters(adapter: str) -> None:
    importers = {each.importer for each in imports("shared") if each.target == adapter}
    assert importers == {COMPOSITION}


def test_the_product_never_imports_emulators_or_tests() -> None:
    offenders = [each for each in imports(*PRODUCT) if within(each.target, "emulators", "tests", "bench")]
    assert not offenders, report(offenders)


def test_emulators_never_import_the_product() -> None:
    """They are its judges."""
    offenders = [each for each in imports("emulators") if within(each.target, *PRODUCT, "tests")]
    assert not offenders, report(offenders)


def test_the_product_has_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for each in imports(*PRODUCT):
        if within(each.target, *PRODUCT) and each.target != each.importer:
            graph.setdefault(each.importer, set()).add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_environment_is_read_in_the_settings_only() -> None:
    offenders = []
    for path in sources(*PRODUCT):
        if module_name(path) == "shared.settings":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.attr]
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
                else [alias.name for alias in node.names]
                if isinstance(node, ast.ImportFrom) and node.module == "os"
                else []
            )
            if {"environ", "environb", "getenv", "getenvb"} & set(names):
                offenders.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}")
    assert not offenders, offenders
