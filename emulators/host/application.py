"""One running function app: its worker, its listeners, and their orderly end."""

import asyncio
import logging
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emulators.host.host_config import HostConfig
from emulators.host.http_listener import HttpListener
from emulators.host.keys import AccessKeys
from emulators.host.leases import Singleton
from emulators.host.schedule import parse_schedule
from emulators.host.settings import Settings
from emulators.host.storage import SharedStorage
from emulators.host.timers import Timer
from emulators.host.worker import Function, Worker

if TYPE_CHECKING:
    from emulators.host.event_hubs import EventHubListener
    from emulators.host.redis_pubsub import RedisPubSubListener

_LOG = logging.getLogger(__name__)
# Templates use braces, never settings; a connection is the name of a setting.
_LITERAL_PROPERTIES = frozenset({"route", "connection", "name", "type", "direction"})


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the command line says about one host process."""

    app: Path
    storage: str
    instance_id: str
    keys: AccessKeys
    drain_seconds: float


class Application:
    """Loads the functions of one app and runs their listeners."""

    def __init__(self, options: HostOptions, config: HostConfig, settings: Settings) -> None:
        self._options = options
        self._config = config
        self._settings = settings
        self._worker = Worker()
        self._storage = SharedStorage(options.storage)
        self._http: HttpListener | None = None
        self._singletons: list[Singleton] = []
        self._event_hubs: list[EventHubListener] = []
        self._redis: list[RedisPubSubListener] = []
        self.abandoned = 0

    def load(self) -> list[str]:
        """Indexes the app and prepares its listeners; returns the names of the functions that will run.

        Raises StartupError when the app does not load or a setting of a binding is missing.
        """
        started = time.monotonic()
        self._worker.load(self._options.app)
        disabled = {item.name for item in self._worker.functions if self._settings.is_disabled(item.name)}
        enabled = [self._resolve(item) for item in self._worker.functions if item.name not in disabled]
        http = [function for function in enabled if function.trigger["type"] == "httpTrigger"]
        self._http = HttpListener(http, self._worker, self._settings, self._config.http, self._options.keys)
        for function in enabled:
            self._prepare(function)
        _LOG.info("indexed %d functions in %.2f s", len(self._worker.functions), time.monotonic() - started)
        if disabled:
            _LOG.info("disabled: %s", ", ".join(sorted(disabled)))
        return [function.name for function in enabled]

    async def start(self, bound: socket.socket) -> None:
        """Starts all listeners; returns when HTTP listens and the others have begun."""
        if self._http is not None:
            await self._http.start(bound)
        await asyncio.gather(
            *(listener.start() for listener in self._event_hubs),
            *(listener.start() for listener in self._redis),
            *(singleton.start() for singleton in self._singletons),
        )

    async def stop(self) -> None:
        """Takes nothing new, waits for what runs, then gives up leases and partitions."""
        if self._http is not None:
            self._http.stop_accepting()
        for hub in self._event_hubs:
            hub.stop_receiving()
        # Timers and subscriptions wait for their own invocation; the limit is one for all.
        stopping = asyncio.gather(
            *(listener.stop() for listener in self._redis), *(singleton.stop() for singleton in self._singletons)
        )
        seconds = self._options.drain_seconds
        self.abandoned = await self._worker.drain(seconds)
        if self.abandoned:
            _LOG.warning("%d invocations still run after %g s and are abandoned", self.abandoned, seconds)
            stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await asyncio.gather(*(hub.stop() for hub in self._event_hubs), return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        await _cancel_remaining_tasks()
        self._worker.close()
        self._storage.close()

    def _resolve(self, function: Function) -> Function:
        where = f"function {function.name}"
        trigger = {
            key: self._settings.resolve(value, f"{where}: {key}")
            if isinstance(value, str) and key not in _LITERAL_PROPERTIES
            else value
            for key, value in function.trigger.items()
        }
        return replace(function, trigger=trigger)

    def _prepare(self, function: Function) -> None:
        where = f"function {function.name}"
        # Each kind's libraries are imported only by apps that use it: they are most of the start-up time.
        match function.trigger["type"]:
            case "eventHubTrigger":
                from emulators.host.event_hubs import EventHubListener  # noqa: PLC0415

                self._event_hubs.append(
                    EventHubListener(function, self._worker, self._settings, self._storage, self._config.event_hubs)
                )
            case "timerTrigger":
                timer = Timer(
                    function, parse_schedule(str(function.trigger["schedule"]), where), self._worker, self._storage
                )
                self._singletons.append(
                    Singleton(
                        self._storage,
                        f"timers/{function.name}",
                        self._options.instance_id,
                        self._config.singleton,
                        timer.start,
                        timer.stop,
                    )
                )
            case "redisPubSubTrigger":
                from emulators.host.redis_connection import find_connection  # noqa: PLC0415
                from emulators.host.redis_pubsub import RedisPubSubListener  # noqa: PLC0415

                trigger = function.trigger
                connection = find_connection(self._settings, str(trigger.get("connection") or "Redis"), where)
                pattern = str(trigger.get("pattern", False)).lower() == "true"
                self._redis.append(
                    RedisPubSubListener(function, self._worker, connection, str(trigger["channel"]), pattern=pattern)
                )


async def _cancel_remaining_tasks() -> None:
    # The app's own background tasks live on this loop as they do on the worker's.
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)
