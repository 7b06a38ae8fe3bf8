"""The figures of docs/internet-scale.md: what limits a cell, and how many cells make a larger system."""

import math

from tools.figures import Figures
from tools.sizing import (
    MAX_PARTITIONS,
    MAX_THROUGHPUT_UNITS,
    PREMIUM_VCPUS,
    REDIS_GB,
    WEB_PUBSUB_UNITS,
    Assumptions,
    size,
)
from tools.tables import table

_INTERVALS = (30.0, 60.0)
_LARGER = (1_000_000, 10_000_000, 100_000_000)
_SHARDS = 8


def values(figures: Figures) -> dict[str, str]:
    """Returns what the page's template names."""
    base = Assumptions()
    ten = size(10_000_000, figures, base)
    ten_gateway = size(10_000_000, figures, Assumptions(gateway=True))
    posts = 10_000_000 / base.heartbeat_interval * figures["appMicrosPerPost"] / 1e6
    vcpus = posts * base.azure_overhead / base.app_load
    half = base.redis_load / figures["redisMicrosPerHeartbeat"] * 1e6
    return {
        "redisMicros": f"{figures['redisMicrosPerHeartbeat']:g}",
        "bytes": f"{figures['redisBytesPerSession']:g}",
        "bytesUuid": f"{figures['redisBytesPerSessionUuid']:g}",
        "limits": _limits(figures, base),
        "cellsTable": _cells(figures, base),
        "clusterSessions": _millions(half * base.heartbeat_interval * _SHARDS),
        "postMicros": f"{figures['appMicrosPerPost']:g}",
        "beatsOfTen": f"{10_000_000 / base.heartbeat_interval:,.0f}",
        "vcpusOfTen": f"{vcpus:,.0f}",
        "instancesOfTen": f"{math.ceil(vcpus / PREMIUM_VCPUS['EP3']):,}",
        "cellsOfTen": str(ten.cells),
        "instancesPerCell": f"{ten.instances} {ten.premium_sku}",
        "gatewayVcpusOfTen": f"{ten_gateway.vcpus * ten_gateway.cells:,.0f}",
        "gatewayPerCell": f"{ten_gateway.instances} {ten_gateway.premium_sku}",
    }


def _limits(figures: Figures, base: Assumptions) -> str:
    core = 1e6 / figures["redisMicrosPerHeartbeat"]
    room = REDIS_GB["Balanced_B20"] * base.redis_usable * 1e9
    memory = room / (base.redis_memory_factor * figures["redisBytesPerSession"])
    throughput = MAX_THROUGHPUT_UNITS * 1e6 / figures["bytesPerHeartbeat"]
    consumers = MAX_PARTITIONS * 1e6 / (figures["appMicrosPerIngestedHeartbeat"] * base.azure_overhead)
    watching = WEB_PUBSUB_UNITS[-1] * 1_000 / base.dashboards_share
    heartbeats = [
        ("Redis' core, half of it used", core * base.redis_load),
        ("Redis' core, all of it", core),
        (f"event hub, {MAX_THROUGHPUT_UNITS} throughput units, packed", throughput),
        (f"event hub, {MAX_PARTITIONS} partitions, one consumer each", consumers),
    ]
    rows = [
        [name, f"{_round(rate):,} heartbeats/s", *(_millions(rate * interval) for interval in _INTERVALS)]
        for name, rate in heartbeats
    ]
    rows.insert(
        2, ["Redis' memory, 24 GB, half of it sessions", f"{base.redis_memory_factor:g} times the bytes of a session"]
    )
    rows[2] += [_millions(memory)] * 2
    rows.append(["Web PubSub, 100 units", f"100,000 connections, {base.dashboards_share:.0%} watching"])
    rows[-1] += [_millions(watching)] * 2
    head = ["limit", "at", *(f"sessions, a heartbeat in {interval:g} s" for interval in _INTERVALS)]
    return table(head, rows).replace("|---|--:|", "|---|---|", 1)


def _cells(figures: Figures, base: Assumptions) -> str:
    rows = []
    for sessions in _LARGER:
        need = size(sessions, figures, base)
        instances = f"{need.instances} {need.premium_sku}"
        rows.append([_millions(sessions), str(need.cells), f"{need.sessions:,}", f"{need.redis_load:.0%}", instances])
    return table(["sessions", "cells", "sessions a cell", "Redis' core", "instances a cell, single posts"], rows)


def _millions(number: float) -> str:
    return f"{number / 1e6:.1f}".removesuffix(".0") + " million"


def _round(number: float) -> int:
    """Returns a number with two significant digits."""
    digits = 10 ** (math.floor(math.log10(number)) - 1)
    return int(round(number / digits) * digits)
