"""Concurrent heartbeats packed into one Event Hubs event, or an event each: speed, latency, throughput units."""

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient

from bench import product
from bench.load import Load, hammer
from bench.measuring import percentile, process_seconds
from bench.report import Benchmark, Cell, Chart, Context, Goal, Report, Table
from bench.system import System, running
from shared.events.codec import Draft, encode_beat, encode_packet

_APPS = Path(__file__).parent / "apps"
_PACKED, _UNPACKED = "packed", "an event each"
_WAYS = {
    _PACKED: {},
    _UNPACKED: {"PYTHON_SCRIPT_FILE_NAME": "bench/apps/one_by_one.py", "PYTHONPATH": str(_APPS)},
}
_CONNECTIONS = (1, 16, 128)
_SESSIONS, _INTERVAL = 1_000_000, 30
_UNIT_EVENTS, _UNIT_BYTES = 1_000, 1_000_000  # what one throughput unit takes in per second
_PACKETS_PER_SECOND = 100  # of one instance at most, with the default wait of 10 ms
_INSTANCES = (4, 12, 40)
_GOAL_UNITS = 4


@dataclass(frozen=True)
class Measured:
    """A load, the processor time of the host per accepted heartbeat (µs), and heartbeats per event."""

    load: Load
    host: float
    per_event: float


async def run(context: Context) -> Report:
    """Loads a stack with packing and one without, in turns."""
    seconds, rounds = context.pick((3.0, 2), (6.0, 3))
    found: dict[str, dict[int, list[Measured]]] = {way: {count: [] for count in _CONNECTIONS} for way in _WAYS}
    for turn in range(rounds):
        for way, settings in _WAYS.items():
            async with running(context.directory / f"{turn}-{way[:2]}", settings) as system:
                for count in _CONNECTIONS:
                    measured = await _measure(system, count, seconds)
                    found[way][count].append(measured)
                    context.progress(
                        f"{way:<14} {count:>4} connections: {measured.load.rate:7,.0f}/s, "
                        f"p99 {percentile(measured.load.latencies, 0.99):6.1f} ms, {measured.per_event:.1f} per event"
                    )
    return _report(found)


async def _measure(system: System, connections: int, seconds: float) -> Measured:
    requests = await system.single_posts([f"u-{number}" for number in range(1, 201)])
    await hammer(system.api, requests, connections, 0.5)  # links and tokens are there after this
    host = system.stack.pid("host-1") or 0
    events, used, clock = await _events(system), process_seconds(host), time.monotonic()
    load = await hammer(system.api, requests, connections, seconds)
    used, clock = process_seconds(host) - used, time.monotonic() - clock
    canaries = len(await _sequence_numbers(system)) * clock  # one a second and partition
    accepted = load.statuses[202]
    events = await _events(system) - events
    return Measured(load, used / max(1, accepted) * 1e6, accepted / max(1.0, events - canaries))


async def _events(system: System) -> float:
    return float(sum(await _sequence_numbers(system)))


async def _sequence_numbers(system: System) -> list[int]:
    addresses = system.stack.addresses
    client = EventHubProducerClient.from_connection_string(addresses.event_hubs, eventhub_name=addresses.event_hub_name)
    async with client:
        partitions = await client.get_partition_ids()
        found = await asyncio.gather(*(client.get_partition_properties(each) for each in partitions))
    return [int(each["last_enqueued_sequence_number"]) for each in found]


def _report(found: dict[str, dict[int, list[Measured]]]) -> Report:
    units, needed = _units()
    rows: list[list[Cell]] = []
    for count in _CONNECTIONS:
        for way in _WAYS:
            runs = found[way][count]
            rows.append(
                [
                    way,
                    count,
                    statistics.median(run.load.rate for run in runs),
                    f"{min(run.load.rate for run in runs):,.0f} … {max(run.load.rate for run in runs):,.0f}",
                    _median_percentile(runs, 0.5),
                    _median_percentile(runs, 0.99),
                    statistics.median(run.host for run in runs),
                    statistics.median(run.per_event for run in runs),
                ]
            )
    return Report(
        tables=[
            Table(
                "POST /heartbeat through the whole stack; medians of the rounds",
                [
                    "way",
                    "connections",
                    "accepted/s",
                    "spread",
                    "p50 ms",
                    "p99 ms",
                    "host, µs processor per heartbeat",
                    "heartbeats per event",
                ],
                rows,
            ),
            units,
        ],
        goals=[
            Goal(
                f"throughput units for {_SESSIONS:,} sessions, {_INSTANCES[1]} instances",
                f"≤ {_GOAL_UNITS}",
                f"{needed}",
                needed <= _GOAL_UNITS,
            )
        ],
        charts=[
            Chart(
                "POST /heartbeat through the whole stack",
                "accepted/s",
                [f"{count} connections" for count in _CONNECTIONS],
                {
                    way: [statistics.median(run.load.rate for run in found[way][count]) for count in _CONNECTIONS]
                    for way in _WAYS
                },
            ),
            Chart(
                "POST /heartbeat, p99",
                "ms",
                [f"{count} connections" for count in _CONNECTIONS],
                {way: [_median_percentile(found[way][count], 0.99) for count in _CONNECTIONS] for way in _WAYS},
            ),
        ],
        notes=[
            "Without packing the same function app runs with a publisher that takes one heartbeat per event "
            "(`bench/apps/one_by_one.py`), over the same four links.",
            "The host's processor time covers HTTP, ingest and sweeps. Rates and latencies are by the clock, on a "
            "machine that clients, host, Event Hubs and Redis share.",
            f"Throughput units: sizes are those of the encoded AMQP message; one unit takes {_UNIT_EVENTS:,} events "
            f"and {_UNIT_BYTES / 1e6:g} MB a second; an instance sends at most {_PACKETS_PER_SECOND} packets a second.",
        ],
    )


def _median_percentile(runs: Sequence[Measured], share: float) -> float:
    return statistics.median(percentile(run.load.latencies, share) or 0.0 for run in runs)


def _units() -> tuple[Table, int]:
    """Returns the table of throughput units, and how many are needed with the middle number of instances."""
    rate = _SESSIONS / _INTERVAL
    rows: list[list[Cell]] = []
    needed = 0
    for ids, draft in (
        ("12-byte user, 16-byte session", Draft("user-0000001", "s-00000000000001")),
        ("UUIDs as text", Draft("x" * 36, "x" * 36)),
    ):
        for instances in (0, *_INSTANCES):
            events = min(rate, instances * _PACKETS_PER_SECOND) if instances else rate
            size = _event_bytes(draft, round(rate / events))
            units = max(math.ceil(events / _UNIT_EVENTS), math.ceil(events * size / _UNIT_BYTES))
            if instances == _INSTANCES[1]:
                needed = needed or units  # of the first ids
            how = f"packed, {instances} instances" if instances else "an event each"
            rows.append([ids, how, rate / events, size, events, events * size / 1e6, units])
    caption = f"Throughput units for {_SESSIONS:,} sessions, a heartbeat every {_INTERVAL} s ({rate:,.0f}/s)"
    columns = ["ids", "how", "heartbeats per event", "bytes per event", "events/s", "MB/s", "throughput units"]
    return Table(caption, columns, rows), needed


def _event_bytes(draft: Draft, beats: int) -> int:
    batch = EventDataBatch(max_size_in_bytes=1_048_576)
    before = batch.size_in_bytes
    batch.add(EventData(encode_packet(product.now(), [encode_beat(draft)] * beats)))
    return batch.size_in_bytes - before


BENCH = Benchmark("packing", "Heartbeats packed into events at the HTTP function, or an event each.", run)
