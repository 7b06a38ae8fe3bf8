"""Every function's name, trigger and bindings, as Microsoft's worker indexes them: what Azure will run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.functions.conftest import ENVIRONMENT

ROOT = Path(__file__).parents[2]
# Each answers 405 itself, in the form of every other problem, so none restricts its methods.
ROUTES = {
    "heartbeat": "heartbeat",
    "heartbeats": "heartbeats",
    "negotiate": "negotiate",
    "regions": "regions",
    "region_counties": "regions/{regionId}/counties",
    "region_facilities": "regions/{regionId}/facilities",
    "region_activity": "regions/{regionId}/activity",
    "facility": "facilities/{facilityId}",
    "agents": "agents",
    "agent_status": "agents/{userId}/status",
    "end_session": "sessions/{userId}/{sessionId}",
    "openapi": "openapi.json",
    "facility_history": "facilities/{facilityId}/history",
    "facility_activity": "facilities/{facilityId}/activity",
    "config": "config",
    "dashboard": "dashboard/{*path}",
    "health": "health",
    "fallback": "{*path}",
}
TRIGGERS: dict[str, dict[str, Any]] = {
    "ingest_heartbeats": {
        "type": "eventHubTrigger",
        "name": "events",
        "eventHubName": "%EVENT_HUB_NAME%",
        "connection": "EventHubConnection",
        "consumerGroup": "%EVENT_HUB_CONSUMER_GROUP%",
        "cardinality": "MANY",
    },
    "expire_session": {
        "type": "redisPubSubTrigger",
        "name": "message",
        "connection": "Redis",
        "channel": "__keyevent@0__:expired",
    },
    "sweep_sessions": {
        "type": "timerTrigger",
        "name": "timer",
        "schedule": "%SWEEP_SCHEDULE%",
        "runOnStartup": False,
        "useMonitor": False,
    },
    "monitor_sessions": {
        "type": "timerTrigger",
        "name": "timer",
        "schedule": "%MONITOR_SCHEDULE%",
        "runOnStartup": False,
        "useMonitor": True,
    },
}


def run_index(**settings: str) -> subprocess.CompletedProcess[str]:
    """Indexes in a process of its own: the worker keeps what it has loaded."""
    return subprocess.run(
        [sys.executable, "-m", "tests.functions.function_index"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **ENVIRONMENT, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def indexed() -> dict[str, dict[str, Any]]:
    done = run_index()
    assert done.returncode == 0, done.stderr
    functions: list[dict[str, Any]] = json.loads(done.stdout)
    assert len({function["name"] for function in functions}) == len(functions)
    return {function["name"]: function for function in functions}


def test_these_functions_are_deployed_and_no_others(indexed: dict[str, dict[str, Any]]) -> None:
    assert indexed.keys() == ROUTES.keys() | TRIGGERS.keys()


@pytest.mark.parametrize("name", ROUTES)
def test_an_http_function_has_its_route_and_checks_its_caller_itself(
    indexed: dict[str, dict[str, Any]], name: str
) -> None:
    trigger, answer = indexed[name]["bindings"]
    assert trigger == {
        "direction": "IN",
        "type": "httpTrigger",
        "name": "req",
        "authLevel": "ANONYMOUS",
        "route": ROUTES[name],
    }
    assert answer == {"direction": "OUT", "type": "http", "name": "$return"}
    assert indexed[name]["retry"] is None


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_function_has_its_trigger_and_nothing_else(indexed: dict[str, dict[str, Any]], name: str) -> None:
    assert indexed[name]["bindings"] == [{"direction": "IN", **TRIGGERS[name]}]


def test_a_partition_waits_for_its_dependencies_without_end(indexed: dict[str, dict[str, Any]]) -> None:
    retry = indexed["ingest_heartbeats"]["retry"]
    assert (retry["retry_strategy"], retry["max_retry_count"], retry["delay_interval"]) == (
        "fixed_delay",
        -1,
        "0:00:01",
    )
    assert [name for name, function in indexed.items() if function["retry"]] == ["ingest_heartbeats"]


def test_the_route_prefix_and_event_batches_are_the_documented_ones() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == "api"
    assert host["extensions"]["eventHubs"]["maxEventBatchSize"] == 100
    assert "retry" not in host, "the policy stands at its function"


def test_a_missing_setting_stops_the_index_with_its_name() -> None:
    done = run_index(SqlCore="")
    assert done.returncode != 0
    assert "SqlCore: missing; set it to an ODBC connection string or sqlite:////absolute/path" in done.stderr
