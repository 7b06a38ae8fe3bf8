"""Writes `README.md` and the plots of a results folder from the JSON files in it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.catalogue import benchmarks
from bench.svg import bar_chart, short

_VERDICT = {True: "met", False: "**missed**", None: "not judged at this size"}


def render(folder: Path) -> None:
    """Draws everything anew; plots of results that are gone are removed."""
    order = list(benchmarks())
    results = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    results.sort(key=lambda result: order.index(result["name"]) if result["name"] in order else len(order))
    for plot in folder.glob("*.svg"):
        plot.unlink()
    for result in results:
        for number, chart in enumerate(result["charts"], 1):
            (folder / _plot(result, number)).write_text(bar_chart(chart), encoding="utf-8")
    (folder / "README.md").write_text("\n".join(_page(results)) + "\n", encoding="utf-8")


def _plot(result: dict[str, Any], number: int) -> str:
    return f"{result['name']}-{number}.svg"


def _page(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "# Results\n"
    yield "Written by `python -m bench`; [../README.md](../README.md) says how to run it.\n"
    goals = [(result, goal) for result in results for goal in result["goals"]]
    if goals:
        yield "| benchmark | figure | goal | measured | |\n|---|---|---|---|---|"
        for result, goal in goals:
            link = f"[{result['name']}](#{result['name']})"
            yield f"| {link} | {goal['what']} | {goal['goal']} | {goal['measured']} | {_VERDICT[goal['met']]} |"
        yield ""
    for result in results:
        yield from _section(result)


def _section(result: dict[str, Any]) -> Iterator[str]:
    machine, versions = result["machine"], result["versions"]
    yield f"## {result['name']}\n"
    yield f"{result['summary']}\n"
    yield (
        f"`{result['command']}` · {result['date']} · {result['seconds']:.0f} s · "
        f"{machine['processors']} × {machine['processor']}, {machine['memoryGiB']} GiB, {machine['system']}, "
        f"load average at the start {machine['loadAverage']} · "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "\n"
    )
    for number, _ in enumerate(result["charts"], 1):
        yield f"![{result['charts'][number - 1]['title']}]({_plot(result, number)})\n"
    for table in result["tables"]:
        yield f"{table['caption']}\n"
        yield "| " + " | ".join(table["columns"]) + " |"
        yield "|" + "|".join("---" if _is_text(table, at) else "--:" for at in range(len(table["columns"]))) + "|"
        for row in table["rows"]:
            yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
        yield ""
    for note in result["notes"]:
        yield f"- {note}"
    if result["notes"]:
        yield ""


def _is_text(table: dict[str, Any], column: int) -> bool:
    return any(isinstance(row[column], str) for row in table["rows"])


def _cell(value: str | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int) else short(value)
