"""Where the parts of a running stack are: `.local/stack.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "stack.json"


@dataclass(frozen=True)
class Addresses:
    """What a tool needs to talk to a stack; every address is absolute."""

    api: str  # the first host's, ends in /api
    dashboard: str
    identity: str  # the OpenID Connect issuer
    event_hubs: str  # connection string without EntityPath
    event_hub_name: str
    redis: str  # StackExchange form
    web_pubsub: str  # connection string
    web_pubsub_hub: str
    sql_monitor: str
    sql_core: str
    hosts: tuple[str, ...]  # the API of each function app host

    def as_json(self) -> dict[str, Any]:
        """The keys of `stack.json`."""
        return {
            "api": self.api,
            "dashboard": self.dashboard,
            "identity": self.identity,
            "eventHubs": self.event_hubs,
            "eventHubName": self.event_hub_name,
            "redis": self.redis,
            "webPubSub": self.web_pubsub,
            "webPubSubHub": self.web_pubsub_hub,
            "sqlMonitor": self.sql_monitor,
            "sqlCore": self.sql_core,
            "hosts": list(self.hosts),
        }


def write_stack_file(directory: Path, addresses: Addresses, pid: int, processes: Mapping[str, int]) -> None:
    """Writes `stack.json` at once, so that no reader sees half of it."""
    path = directory / FILE_NAME
    temporary = path.with_suffix(".new")
    content = addresses.as_json() | {"pid": pid, "processes": dict(processes)}
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def read_stack_file(directory: Path) -> dict[str, Any] | None:
    """The content of `stack.json`, or None if no stack is up."""
    try:
        content: dict[str, Any] = json.loads((directory / FILE_NAME).read_text())
    except FileNotFoundError:
        return None
    return content


def remove_stack_file(directory: Path) -> None:
    """Removes `stack.json`; harmless when repeated."""
    (directory / FILE_NAME).unlink(missing_ok=True)
