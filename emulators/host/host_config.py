"""`host.json`: the parts that this host honours, with the defaults of the real one."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from emulators.host.errors import StartupError

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?")
UNBOUNDED = -1


def parse_time_span(text: str, where: str) -> float:
    """Seconds of a .NET TimeSpan (`[d.]hh:mm[:ss[.fffffff]]`).

    As in .NET a first part of 24 or more means days, so `24:00:00` is 24 days. Raises StartupError.
    """
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise StartupError(f"{where}: {text!r} is not a time span; write hh:mm:ss")
    days, first, second, third = (int(part or 0) for part in match.groups()[:4])
    if first > 23:
        days, first, second, third = first, second, third, 0
    if second > 59 or third > 59 or first > 23:
        raise StartupError(f"{where}: {text!r} is out of range; write hh:mm:ss")
    return days * 86_400 + first * 3_600 + second * 60 + third + float(f"0.{match[5] or 0}")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """`extensions.http`; -1 means without limit."""

    route_prefix: str = "api"
    max_outstanding_requests: int = UNBOUNDED
    max_concurrent_requests: int = UNBOUNDED


@dataclass(frozen=True, slots=True)
class EventHubOptions:
    """`extensions.eventHubs`; `starting_position` is what azure-eventhub calls by that name."""

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_seconds: float = 60.0
    batch_checkpoint_frequency: int = 1
    prefetch_count: int = 300
    starting_position: str | datetime = "-1"
    partition_ownership_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class SingletonOptions:
    """`singleton`: how long a timer's lease lasts, and how often the other hosts try to get it."""

    listener_lock_seconds: float = 60.0
    recovery_polling_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class HostConfig:
    """The whole of `host.json` that this host honours."""

    http: HttpOptions = field(default_factory=HttpOptions)
    event_hubs: EventHubOptions = field(default_factory=EventHubOptions)
    singleton: SingletonOptions = field(default_factory=SingletonOptions)
    log_levels: dict[str, str] = field(default_factory=dict)


class _Section:
    def __init__(self, values: dict[str, Any], path: str) -> None:
        self._values = values
        self._path = path

    def section(self, name: str) -> "_Section":
        value = self._values.get(name) or {}
        if not isinstance(value, dict):
            raise StartupError(f"host.json: {self._path}{name} must be an object")
        return _Section(value, f"{self._path}{name}.")

    def integer(self, name: str, default: int, least: int) -> int:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise StartupError(f"host.json: {self._path}{name} must be a whole number of at least {least}")
        return value

    def seconds(self, name: str, default: float) -> float:
        value = self._values.get(name)
        return default if value is None else parse_time_span(str(value), f"host.json: {self._path}{name}")

    def text(self, name: str, default: str) -> str:
        return str(self._values.get(name, default))

    def items(self) -> dict[str, Any]:
        return self._values


def load_host_config(app: Path) -> HostConfig:
    """Reads `host.json`; raises StartupError when it is missing, malformed or out of range."""
    path = app / "host.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise StartupError(f"{path} is missing; a function app needs one") from error
    except ValueError as error:
        raise StartupError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("version") != "2.0":
        raise StartupError(f'{path} must be an object with "version": "2.0"')
    root = _Section(document, "")
    extensions = root.section("extensions")
    http, hubs, singleton = extensions.section("http"), extensions.section("eventHubs"), root.section("singleton")
    return HostConfig(
        http=HttpOptions(
            route_prefix=http.text("routePrefix", "api").strip("/"),
            max_outstanding_requests=http.integer("maxOutstandingRequests", UNBOUNDED, UNBOUNDED),
            max_concurrent_requests=http.integer("maxConcurrentRequests", UNBOUNDED, UNBOUNDED),
        ),
        event_hubs=EventHubOptions(
            max_event_batch_size=hubs.integer("maxEventBatchSize", 100, 1),
            min_event_batch_size=hubs.integer("minEventBatchSize", 1, 1),
            max_wait_seconds=hubs.seconds("maxWaitTime", 60.0),
            batch_checkpoint_frequency=hubs.integer("batchCheckpointFrequency", 1, 1),
            prefetch_count=hubs.integer("prefetchCount", 300, 1),
            starting_position=_starting_position(hubs.section("initialOffsetOptions")),
            partition_ownership_seconds=hubs.seconds("partitionOwnershipExpirationInterval", 120.0),
        ),
        singleton=SingletonOptions(
            listener_lock_seconds=singleton.seconds("listenerLockPeriod", 60.0),
            recovery_polling_seconds=singleton.seconds("listenerLockRecoveryPollingInterval", 60.0),
        ),
        log_levels={str(k): str(v) for k, v in root.section("logging").section("logLevel").items().items()},
    )


def _starting_position(options: _Section) -> str | datetime:
    kind: Literal["fromstart", "fromend", "fromenqueuedtime"] | str = options.text("type", "fromStart").lower()
    match kind:
        case "fromstart":
            return "-1"
        case "fromend":
            return "@latest"
        case "fromenqueuedtime":
            text = options.text("enqueuedTimeUtc", "")
            try:
                time = datetime.fromisoformat(text)
            except ValueError as error:
                raise StartupError(f"host.json: initialOffsetOptions.enqueuedTimeUtc {text!r} is not a time") from error
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        case _:
            raise StartupError("host.json: initialOffsetOptions.type must be fromStart, fromEnd or fromEnqueuedTime")
