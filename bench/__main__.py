"""`python -m bench [NAME…]`: runs benchmarks and writes their figures, tables and plots to `bench/results/`."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.catalogue import benchmarks
from bench.environment import machine, versions
from bench.render import render
from bench.report import Benchmark, Context, Goal

RESULTS = Path(__file__).parent / "results"
_VERDICT = {True: "met", False: "missed", None: "not judged at this size"}


def main() -> int:
    """Returns 0 unless a goal was missed."""
    known = benchmarks()
    options = _parser(known).parse_args()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if options.list:
        for benchmark in known.values():
            print(f"{benchmark.name:<14} {benchmark.summary}")
        return 0
    if options.render:
        render(options.out)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    missed = 0
    for name in options.names or known:
        goals = _measure(known[name], options)
        missed += sum(goal.met is False for goal in goals)
        render(options.out)
    print(f"results: {options.out / 'README.md'}")
    return 1 if missed else 0


def _parser(known: dict[str, Benchmark]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--size", choices=("small", "full"), default="small", help="default: small, a few minutes")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")
    parser.add_argument("--list", action="store_true", help="shows what there is")
    parser.add_argument("--render", action="store_true", help="only draws the tables and plots anew")
    return parser


def _measure(benchmark: Benchmark, options: argparse.Namespace) -> list[Goal]:
    """Runs one benchmark and writes `<name>.json`; returns its goals."""
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {benchmark.name:<12} {text}", flush=True)

    progress(f"size {options.size}: {benchmark.summary}")
    before = machine()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        report = asyncio.run(benchmark.run(Context(options.size, Path(directory), progress)))
    result = {
        "name": benchmark.name,
        "summary": benchmark.summary,
        "command": f"python -m bench {benchmark.name} --size {options.size}",
        "size": options.size,
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "seconds": round(time.monotonic() - started, 1),
        "machine": before,
        "versions": versions(),
        **asdict(report),
    }
    path: Path = options.out / f"{benchmark.name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for goal in report.goals:
        progress(f"{_VERDICT[goal.met]}: {goal.what}: {goal.measured} (goal {goal.goal})")
    return list(report.goals)


if __name__ == "__main__":
    sys.exit(main())
