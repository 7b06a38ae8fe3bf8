"""`python -m tools.costs`: docs/costs.md, docs/internet-scale.md and the scaling table of docs/operations.md.

They are computed from bench/figures.json, which takes what is measured out of bench/results.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import figures, limits
from tools.figures import CHECKOUT, Figures
from tools.sizing import PREMIUM_GB, PREMIUM_VCPUS, SECONDS_PER_MONTH, Assumptions, Size, size
from tools.tables import table

COSTS = CHECKOUT / "docs" / "costs.md"
OPERATIONS = CHECKOUT / "docs" / "operations.md"
SCALE = CHECKOUT / "docs" / "internet-scale.md"
BEGIN, END = "<!-- scaling table: make costs -->", "<!-- end of the scaling table -->"
_COSTED = (1_000, 100_000, 1_000_000)
_SCALED = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_DAYS = 365 / 12


@dataclass(frozen=True)
class Inputs:
    """Everything that the documents are computed from."""

    figures: Figures
    prices: dict[str, Any]
    batches_per_checkpoint: int

    def price(self, name: str) -> float:
        """Returns a unit price in dollars."""
        return float(self.prices[name]["value"])


def read_inputs() -> Inputs:
    """Reads the figures, the prices and host.json."""
    host = json.loads((CHECKOUT / "host.json").read_text(encoding="utf-8"))
    return Inputs(
        Figures(),
        json.loads((CHECKOUT / "tools" / "prices.json").read_text(encoding="utf-8")),
        host["extensions"]["eventHubs"]["batchCheckpointFrequency"],
    )


def monthly(need: Size, plan: str, assumed: Assumptions, inputs: Inputs) -> dict[str, float]:
    """Returns the cost of one month by service, in dollars, of one cell."""
    hours = inputs.prices["hoursPerMonth"]
    included = need.web_pubsub_units * 1e6
    compute = _premium(need, inputs) if plan == "premium" else _flex(need, assumed, inputs)
    nodes = 1 if need.sessions <= 1_000 else 2
    logs = assumed.log_gb_day + assumed.log_gb_day_per_instance * need.instances
    return {
        "Functions": compute,
        "Event Hubs": need.throughput_units * inputs.price("eventHubsUnitHour") * hours
        + need.events * SECONDS_PER_MONTH / 1e6 * inputs.price("eventHubsMillionEvents"),
        "Managed Redis": nodes * inputs.prices["redisNodeMonth"][need.redis_sku],
        "Web PubSub": need.web_pubsub_units * inputs.price("webPubSubUnitDay") * _DAYS
        + max(0.0, need.messages_day - included) / 1e6 * inputs.price("webPubSubMillionMessages") * _DAYS,
        "SQL (two databases)": 2 * inputs.prices["sqlMonth"][need.sql_sku],
        "Storage (leases, checkpoints)": _writes(need, inputs)
        * SECONDS_PER_MONTH
        / 1e4
        * inputs.price("storageWrites10000"),
        "Logs": logs * _DAYS * inputs.price("logGb"),
    }


def _premium(need: Size, inputs: Inputs) -> float:
    vcpus = PREMIUM_VCPUS[need.premium_sku] * inputs.price("premiumVcpuHour")
    memory = PREMIUM_GB[need.premium_sku] * inputs.price("premiumGbHour")
    return need.instances * (vcpus + memory) * float(inputs.prices["hoursPerMonth"])


def _flex(need: Size, assumed: Assumptions, inputs: Inputs) -> float:
    """Every group of functions has instances of its own: HTTP, ingest, sweep, monitor."""
    ingest = need.heartbeats * inputs.figures["appMicrosPerIngestedHeartbeat"] / 1e6
    ingest *= assumed.azure_overhead / assumed.app_load
    requests = need.heartbeats / (1_000 if assumed.gateway else 1)
    # (vCPUs, executions a second): an execution counts as a second at least, so one a second keeps an instance busy.
    groups = ((max(0.0, need.vcpus - ingest), requests), (ingest, float(need.partitions)), (0.05, 1.0), (0.05, 1 / 60))
    total = 0.0
    for vcpus, rate in groups:
        gigabytes = 0.5 if vcpus <= 0.25 else 2.0
        instances = max(1, round(vcpus + 0.499)) if gigabytes == 2.0 else 1
        busy = min(1.0, rate / instances)
        per_second = inputs.price("flexBaselineGbSecond") + busy * inputs.price("flexActiveGbSecond")
        total += instances * gigabytes * per_second * SECONDS_PER_MONTH
        total += rate * SECONDS_PER_MONTH / 1e6 * inputs.price("flexMillionExecutions")
    return total


def _writes(need: Size, inputs: Inputs) -> float:
    """Blob writes a second: checkpoints, and renewals of partition ownership and of timer leases."""
    per_partition = need.events / need.partitions
    # A partition is read in batches of up to 100 events, one invocation after another of about 50 ms.
    batches = min(per_partition, max(per_partition / 100, 20.0))
    return need.partitions * (batches / inputs.batches_per_checkpoint + 0.1) + need.instances * 0.2


def dollars(value: float) -> str:
    """Returns an amount, rounded to what the assumptions can bear."""
    return f"${value:,.0f}" if value >= 1 or not value else "<$1"


def cost_table(assumed: Assumptions, inputs: Inputs) -> str:
    """Returns the monthly costs by service for both plans."""
    needs = [size(sessions, inputs.figures, assumed) for sessions in _COSTED]
    columns = [(need, plan) for need in needs for plan in ("premium", "flex")]
    head = ["", *(f"{need.sessions * need.cells:,} {plan}" for need, plan in columns)]
    amounts = [monthly(need, plan, assumed, inputs) for need, plan in columns]
    rows = [[name, *(dollars(one[name]) for one in amounts)] for name in amounts[0]]
    rows.append(["**a month**", *(f"**{dollars(sum(one.values()))}**" for one in amounts)])
    per_session = [sum(one.values()) / need.sessions * 1_000 for one, (need, _) in zip(amounts, columns, strict=True)]
    rows.append(["per 1,000 sessions", *(f"${value:,.2f}" for value in per_session)])
    return table(head, rows)


def _tens(number: float) -> str:
    return str(int(number // 10) * 10)


def scaling_table(inputs: Inputs) -> str:
    """Returns what each size needs, as rows of settings."""
    needs = [size(sessions, inputs.figures, Assumptions()) for sessions in _SCALED]
    gateway = [size(sessions, inputs.figures, Assumptions(gateway=True)) for sessions in _SCALED]

    def row(name: str, show: Callable[[Size], str], of: Sequence[Size] = needs) -> list[str]:
        return [name, *(show(need) for need in of)]

    rows = [
        row("cells (each as below)", lambda need: str(need.cells)),
        row("heartbeats/s", lambda need: f"{need.heartbeats:,.0f}"),
        row("plan instances, single posts", lambda need: f"{need.instances} {need.premium_sku}"),
        row("plan instances, through a gateway", lambda need: f"{need.instances} {need.premium_sku}", gateway),
        row("event hub partitions", lambda need: str(need.partitions)),
        row("throughput units", lambda need: str(need.throughput_units)),
        row("throughput units, through a gateway", lambda need: str(need.throughput_units), gateway),
        row("Redis", lambda need: need.redis_sku.removeprefix("Balanced_")),
        row("Redis memory, GB", lambda need: f"{need.redis_gb:.2f}"),
        row("Redis, share of its one core", lambda need: f"{need.redis_load:.1%}"),
        row("Web PubSub units", lambda need: str(need.web_pubsub_units)),
        row("SQL", lambda need: need.sql_sku),
    ]
    return table(["sessions", *(f"{sessions:,}" for sessions in _SCALED)], rows)


def costs_document(inputs: Inputs) -> str:
    """Returns docs/costs.md."""
    base = Assumptions()
    measured, prices = _sourced(inputs.figures.content), _sourced(inputs.prices)
    for name in ("sqlMonth", "redisNodeMonth"):
        item = inputs.prices[name]
        listed = ", ".join(f"{key} {value}" for key, value in item.items() if key != "source")
        prices.append([f"`{name}`", listed, item["source"]])
    values = {
        "single": cost_table(base, inputs),
        "gateway": cost_table(Assumptions(gateway=True), inputs),
        "minute": cost_table(Assumptions(heartbeat_interval=60), inputs),
        "figures": table(["figure", "value", "source"], measured).replace("--:|--:|", "--:|---|"),
        "prices": table(["price", "dollars", "of"], prices).replace("--:|--:|", "--:|---|"),
        "assumptions": _assumptions(base),
        "machine": inputs.figures.content["machine"],
        "postOverIngest": _tens(inputs.figures["appMicrosPerPost"] / inputs.figures["appMicrosPerIngestedHeartbeat"]),
        "asOf": inputs.prices["asOf"],
        "checkpoints": str(inputs.batches_per_checkpoint),
        "checkpointCost": _checkpoint_costs(inputs),
    }
    return filled("costs.template.md", values)


def filled(template: str, values: Mapping[str, str]) -> str:
    """Returns a template of this folder with its {{names}} replaced."""
    text = (CHECKOUT / "tools" / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _sourced(items: Mapping[str, Any]) -> list[list[str]]:
    return [
        [f"`{name}`", f"{item['value']:.6f}".rstrip("0").rstrip("."), item["source"]]
        for name, item in items.items()
        if isinstance(item, dict) and "value" in item
    ]


def _assumptions(base: Assumptions) -> str:
    rows = [[f"`{name}`", f"{value:g}"] for name, value in vars(base).items() if not isinstance(value, bool)]
    return table(["assumption", "value"], rows)


def _checkpoint_costs(inputs: Inputs) -> str:
    rows = []
    for every in (1, 10, 100):
        changed = Inputs(inputs.figures, inputs.prices, every)
        amounts = []
        for sessions in _COSTED:
            need = size(sessions, inputs.figures, Assumptions())
            writes = _writes(need, changed) * SECONDS_PER_MONTH / 1e4 * inputs.price("storageWrites10000")
            amounts.append(dollars(writes))
        rows.append([str(every), *amounts])
    return table(["`batchCheckpointFrequency`", *(f"{sessions:,} sessions" for sessions in _COSTED)], rows)


def operations_document(text: str, inputs: Inputs) -> str:
    """Returns docs/operations.md with its scaling table made anew. Raises ValueError when it has no place for one."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/operations.md has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{scaling_table(inputs)}\n\n{END}{after}"


def documents() -> dict[Path, str]:
    """Returns what the documents should say."""
    inputs = read_inputs()
    return {
        COSTS: costs_document(inputs),
        SCALE: filled("internet-scale.template.md", limits.values(inputs.figures)),
        OPERATIONS: operations_document(OPERATIONS.read_text(encoding="utf-8"), inputs),
    }


def main() -> int:
    """Brings the figures up to bench/results and writes the documents; --check only says whether they are current."""
    parser = argparse.ArgumentParser(prog="python -m tools.costs", description=main.__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if not options.check and figures.refresh():
        sys.stdout.write("wrote figures.json\n")
    code = 0
    for path, text in documents().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            sys.stderr.write(f"{path.name} is not current: run `make costs`\n")
            code = 1
        else:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.name}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
