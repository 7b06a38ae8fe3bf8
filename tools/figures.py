"""bench/figures.json: what the calculations start from, most of it taken out of bench/results."""

import json
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
FIGURES = CHECKOUT / "bench" / "figures.json"
RESULTS = CHECKOUT / "bench" / "results"


class Figures:
    """The figures by name."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self.content: dict[str, Any] = content or json.loads(FIGURES.read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> float:
        return float(self.content[name]["value"])


def refreshed(content: dict[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """Returns the figures as the benchmarks say now, to three digits. Raises ValueError where one does not say it.

    Where several tables have the row, the last is taken: benchmarks go from small to large.
    """
    fresh: dict[str, Any] = {}
    for name, item in content.items():
        if isinstance(item, dict) and (place := item.get("from")):
            fresh[name] = {"value": _three_digits(_found(name, results, **place)), **_without_value(item)}
        else:
            fresh[name] = item
    fresh["machine"] = _machine(json.loads((results / "ingest.json").read_text(encoding="utf-8")))
    return fresh


def refresh() -> bool:
    """Brings bench/figures.json up to bench/results; returns whether that changed it."""
    before = FIGURES.read_text(encoding="utf-8")
    after = json.dumps(refreshed(json.loads(before)), indent=2, ensure_ascii=False) + "\n"
    if after != before:
        FIGURES.write_text(after, encoding="utf-8")
    return after != before


def _found(name: str, results: Path, benchmark: str, row: str, column: str) -> float:
    file = results / f"{benchmark}.json"
    tables = json.loads(file.read_text(encoding="utf-8"))["tables"]
    values = [
        cells[table["columns"].index(column)]
        for table in tables
        if column in table["columns"]
        for cells in table["rows"]
        if cells[0] == row
    ]
    if not values:
        raise ValueError(f"{name}: {file.name} has no row {row!r} with a column {column!r}; correct bench/figures.json")
    return float(values[-1])


def _machine(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    server = versions["server"].replace(" server v=", " ")
    system = machine["system"].partition("-")[0]
    return (
        f"{machine['processors']} x {machine['processor']}, {machine['memoryGiB']} GiB, {system}, "
        f"Python {versions['Python']}, {server}; {result['date'][:10]}"
    )


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def _without_value(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "value"}
