"""The documents that are computed are current, and the calculation does what its inputs say."""

from dataclasses import replace

import pytest

from tools import figures, limits
from tools.costs import BEGIN, END, documents, monthly, operations_document, read_inputs
from tools.sizing import MAX_PARTITIONS, MAX_THROUGHPUT_UNITS, Assumptions, size

INPUTS = read_inputs()
SESSIONS = (1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def test_the_documents_are_current() -> None:
    for path, text in documents().items():
        assert path.read_text() == text, f"{path.name} is not current: run `make costs`"
        assert "{{" not in text


def test_the_figures_are_what_the_benchmarks_measured() -> None:
    """Within a quarter: two runs differ by that on a machine that is shared."""
    for name, item in figures.refreshed(INPUTS.figures.content).items():
        if isinstance(item, dict):
            assert INPUTS.figures[name] == pytest.approx(item["value"], rel=0.25), f"{name}: run `make costs`"


def test_a_figure_that_no_benchmark_measures_any_more_is_named() -> None:
    place = {"benchmark": "ingest", "row": "renamed", "column": "Redis, µs processor"}
    with pytest.raises(ValueError, match=r"redisMicros: ingest\.json has no row 'renamed'"):
        figures.refreshed({"redisMicros": {"value": 1, "from": place}})


@pytest.mark.parametrize("sessions", SESSIONS)
@pytest.mark.parametrize("gateway", [False, True])
def test_a_size_keeps_the_limits_of_each_service(sessions: int, gateway: bool) -> None:
    assumed = Assumptions(gateway=gateway)
    need = size(sessions, INPUTS.figures, assumed)
    assert need.sessions * need.cells >= sessions
    assert need.redis_load <= assumed.redis_load
    assert need.instances <= need.partitions <= MAX_PARTITIONS
    assert need.throughput_units <= MAX_THROUGHPUT_UNITS
    assert need.throughput_units * 1_000 >= need.events
    assert need.connections <= need.web_pubsub_units * 1_000


def test_what_is_measured_decides_the_size() -> None:
    need = size(1_000_000, INPUTS.figures, Assumptions())
    assert need.heartbeats == pytest.approx(33_333, rel=0.001)
    assert need.redis_gb == pytest.approx(INPUTS.figures["redisBytesPerSession"] * 2e6 / 1e9)
    assert need.redis_load == pytest.approx(need.heartbeats * INPUTS.figures["redisMicrosPerHeartbeat"] / 1e6)


def test_twice_the_interval_halves_what_follows_the_heartbeats() -> None:
    often, seldom = (
        size(500_000, INPUTS.figures, Assumptions(heartbeat_interval=interval)) for interval in (30.0, 60.0)
    )
    assert seldom.redis_load == pytest.approx(often.redis_load / 2)
    assert seldom.redis_gb == often.redis_gb
    assert sum(monthly(seldom, "premium", Assumptions(), INPUTS).values()) < sum(
        monthly(often, "premium", Assumptions(), INPUTS).values()
    )


def test_a_month_of_one_known_size_is_what_the_price_list_says() -> None:
    """One EP1 is a vCPU and 3.5 GB for 730 hours; a throughput unit, a Web PubSub unit and two S0 beside it."""
    bill = monthly(size(1_000, INPUTS.figures, Assumptions(gateway=True)), "premium", Assumptions(), INPUTS)
    assert bill["Functions"] == pytest.approx(730 * (0.16 + 3.5 * 0.0114))
    assert bill["SQL (two databases)"] == 30
    assert bill["Web PubSub"] == pytest.approx(1.61 * 365 / 12)
    assert bill["Event Hubs"] == pytest.approx(21.9, abs=0.5)


def test_fewer_checkpoints_cost_less() -> None:
    need = size(100_000, INPUTS.figures, Assumptions())
    bills = [
        monthly(need, "premium", Assumptions(), replace(INPUTS, batches_per_checkpoint=every))[
            "Storage (leases, checkpoints)"
        ]
        for every in (1, 10, 100)
    ]
    assert bills[0] > 5 * bills[1] > 5 * bills[2]


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        operations_document("# Operations\n", INPUTS)
    text = operations_document(f"before\n{BEGIN}\nold\n{END}\nafter\n", INPUTS)
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_the_page_on_more_than_one_redis_argues_from_the_measured_figures() -> None:
    page = limits.values(INPUTS.figures)
    half_a_core = 0.5e6 / INPUTS.figures["redisMicrosPerHeartbeat"]
    assert f"| {half_a_core * 30 / 1e6:.1f} million |" in page["limits"]
    assert int(page["cellsOfTen"]) == size(10_000_000, INPUTS.figures, Assumptions()).cells
    # Redis is the first limit, as the page says.
    first = [float(row.split("|")[3].split()[0]) for row in page["limits"].splitlines()[2:]]
    assert first[0] == min(first)
