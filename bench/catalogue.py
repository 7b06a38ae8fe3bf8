"""Finds the benchmarks: every module of this package that defines `BENCH`."""

import importlib
import pkgutil

import bench
from bench.report import Benchmark

_ORDER = ("layouts", "detection", "ingest", "packing", "hosts", "delivery")


def benchmarks() -> dict[str, Benchmark]:
    """Returns all benchmarks by name, in reading order; those of other modules follow by name."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name == "__main__":
            continue
        benchmark = getattr(importlib.import_module(f"bench.{module.name}"), "BENCH", None)
        if isinstance(benchmark, Benchmark):
            found[benchmark.name] = benchmark
    return dict(sorted(found.items(), key=lambda item: (_place(item[0]), item[0])))


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
