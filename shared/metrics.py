"""What the product measures about itself, as OpenTelemetry instruments; docs/operations.md lists them.

Only the API is used here: where nothing exports, an instrument costs next to nothing. `shared.metrics_export` sends
them to Application Insights.
"""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from shared.domain.facility import FacilityChange, FacilityStatus
from shared.domain.pipeline import PipelineState

_meter = metrics.get_meter("facility_pulse")


class _Latest:
    """A gauge that is exported once for each time it was set or several.

    The SDK's own goes on exporting its last value for ever: an instance that swept once would hide what the one that
    sweeps now sees.
    """

    def __init__(self, name: str, unit: str, description: str) -> None:
        self._value: float | None = None
        _meter.create_observable_gauge(name, [self._take], unit, description)

    def set(self, value: float) -> None:
        """Replaces the value that the next export takes."""
        self._value = value

    def _take(self, _: CallbackOptions) -> Iterable[Observation]:
        value, self._value = self._value, None
        return [] if value is None else [Observation(value)]


heartbeats = _meter.create_counter(
    "facility_pulse.heartbeats", "{heartbeat}", "Heartbeats ingested, repetitions included."
)
duplicates = _meter.create_counter(
    "facility_pulse.duplicates", "{heartbeat}", "Heartbeats that told nothing new: repeated or overtaken."
)
late = _meter.create_counter(
    "facility_pulse.late",
    "{heartbeat}",
    "Heartbeats that came after their session's end had been decided.",
)
unassigned = _meter.create_counter(
    "facility_pulse.unassigned", "{heartbeat}", "Heartbeats that count for no facility of the directory."
)
dead_letters = _meter.create_counter("facility_pulse.dead_letters", "{record}", "Records set aside, by source.")
transitions = _meter.create_counter("facility_pulse.transitions", "{change}", "Status changes of facilities.")
_detection_lag = _meter.create_histogram(
    "facility_pulse.detection_lag", "s", "From the moment a facility went offline to its announcement."
)
_pipeline_lag = _Latest("facility_pulse.pipeline_lag", "s", "How far the watermark is behind the clock.")
_stale = _Latest("facility_pulse.stale", "1", "1 while nobody's silence is believed.")
_sweep_backlog = _Latest(
    "facility_pulse.sweep_backlog", "{facility}", "Facilities that a sweep found waiting for their turn."
)
_sessions_online = _Latest(
    "facility_pulse.sessions_online",
    "{session}",
    "Sessions online; beyond about 8,000 one at several facilities counts at each.",
)

_OUTDATED_SECONDS = 150.0
"""Two runs of the monitor: then another instance may have taken over, and this one knows nothing any more."""

type _Backlogs = dict[tuple[str, str], tuple[float, float]]
"""Stream and group ("" for none) to a value and the time (monotonic) at which it was found."""
_entries: _Backlogs = {}
_waiting: _Backlogs = {}
_oldest: _Backlogs = {}


def _fresh(found: _Backlogs) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for (stream, group), (value, at) in list(found.items()):
            if monotonic() - at < _OUTDATED_SECONDS:
                yield Observation(value, {"stream": stream, "group": group} if group else {"stream": stream})

    return observe


_meter.create_observable_gauge(
    "facility_pulse.stream_entries", [_fresh(_entries)], "{entry}", "Entries held by the streams of a kind."
)
_meter.create_observable_gauge(
    "facility_pulse.stream_waiting", [_fresh(_waiting)], "{entry}", "Entries that a group has not acknowledged."
)
_meter.create_observable_gauge(
    "facility_pulse.stream_oldest", [_fresh(_oldest)], "s", "Age of the oldest entry that a group has not acknowledged."
)


def surveyed(stream: str, entries: int, groups: Mapping[str, tuple[int, float]]) -> None:
    """Notes what the streams of a kind hold; `groups`: how many entries wait for each, and the oldest's age (s)."""
    now = monotonic()
    _entries[stream, ""] = entries, now
    for group, (waiting, oldest) in groups.items():
        _waiting[stream, group] = waiting, now
        _oldest[stream, group] = oldest, now


def announced(changes: Iterable[FacilityChange], now: int) -> None:
    """Notes that these changes went out to browsers at `now` (ms)."""
    for change in changes:
        if change.status is FacilityStatus.OFFLINE:
            _detection_lag.record(max(0, now - change.since) / 1000)


def swept(state: PipelineState, now: int, backlog: int) -> None:
    """Notes where the pipeline stands after a look at `now` (ms), and how many facilities waited for the sweep."""
    lag = state.lag(now)
    if lag is not None:
        _pipeline_lag.set(lag / 1000)
    _stale.set(int(state.stale))
    _sweep_backlog.set(backlog)


def counted(sessions: int) -> None:
    """Notes how many sessions are online."""
    _sessions_online.set(sessions)
