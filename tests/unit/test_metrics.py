"""The product's instruments, as an exporter sees them."""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared import metrics, metrics_export
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.pipeline import PipelineState
from shared.domain.silence import Silence
from shared.settings import TelemetrySettings

NOW = 1_795_000_000_000


@pytest.fixture(scope="module")
def reader() -> Iterator[InMemoryMetricReader]:
    """The one provider of this process: it cannot be replaced again."""
    reader = InMemoryMetricReader()
    api.set_meter_provider(MeterProvider([reader]))
    yield reader
    reader.shutdown()


def exported(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """One export: the points of each metric by its short name."""
    data = reader.get_metrics_data()
    return {
        metric.name.removeprefix("facility_pulse."): list(metric.data.data_points)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    return exported(reader).get(name, [])


def change(status: FacilityStatus, since: int) -> FacilityChange:
    return FacilityChange("f-1", status, since, 2, 0, "expired")


def test_only_departures_tell_how_late_they_were_noticed(reader: InMemoryMetricReader) -> None:
    metrics.announced([change(FacilityStatus.OFFLINE, NOW - 1_500), change(FacilityStatus.ONLINE, NOW - 90_000)], NOW)
    [point] = points(reader, "detection_lag")
    assert (point.count, point.sum) == (1, 1.5)


def test_a_sweep_tells_where_the_pipeline_stands(reader: InMemoryMetricReader) -> None:
    metrics.swept(PipelineState(watermark=NOW - 700, silence=Silence(since=NOW, until=NOW + 1)), NOW, 17)
    told = exported(reader)
    assert [told[name][0].value for name in ("pipeline_lag", "stale", "sweep_backlog")] == [0.7, 1, 17]


def test_who_no_longer_sweeps_tells_nothing_of_the_pipeline(reader: InMemoryMetricReader) -> None:
    """An old value of another instance would hide, or seem to prolong, what the one that sweeps now sees."""
    metrics.swept(PipelineState(watermark=NOW - 9_000), NOW, 0)
    metrics.swept(PipelineState(watermark=NOW - 700), NOW, 0)
    assert [point.value for point in exported(reader)["pipeline_lag"]] == [0.7]
    assert not {"pipeline_lag", "stale", "sweep_backlog", "sessions_online"} & exported(reader).keys()


def test_counters_add_up_by_source(reader: InMemoryMetricReader) -> None:
    metrics.dead_letters.add(1, {"source": "ingest"})
    metrics.dead_letters.add(2, {"source": "ingest"})
    [point] = points(reader, "dead_letters")
    assert (point.value, dict(point.attributes)) == (3, {"source": "ingest"})


def test_what_waits_in_the_streams_is_told_by_stream_and_group_until_it_is_outdated(
    reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = monotonic()
    monkeypatch.setattr(metrics, "monotonic", lambda: at)
    metrics.surveyed("these", 14, {"sql": (9, 37.2), "broadcast": (0, 0.0)})
    metrics.surveyed("those", 3, {"sql": (3, 1.5)})

    def found(name: str) -> dict[tuple[Any, ...], Any]:
        told = {tuple(point.attributes.values()): point.value for point in points(reader, name)}
        return {key: value for key, value in told.items() if key[0] in ("these", "those")}

    assert found("stream_entries") == {("these",): 14, ("those",): 3}
    assert found("stream_waiting") == {("these", "sql"): 9, ("these", "broadcast"): 0, ("those", "sql"): 3}
    assert found("stream_oldest")["these", "sql"] == 37.2
    at += 1_000
    assert points(reader, "stream_waiting") == [], "another instance may be the monitor by now"


@pytest.mark.parametrize(
    "settings",
    [TelemetrySettings(), TelemetrySettings(connection_string="InstrumentationKey=x", worker_exports=True)],
    ids=["without-a-connection-string", "where-the-worker-exports"],
)
def test_nothing_is_exported(settings: TelemetrySettings) -> None:
    assert metrics_export.start(settings) is None


def test_a_bad_connection_string_is_named_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    thread = metrics_export.start(TelemetrySettings(connection_string="nonsense"))
    assert thread is not None
    thread.join(30)
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in caplog.text
