"""The whole system on this machine, as one object."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from emulators.stack.addresses import Addresses, remove_stack_file, write_stack_file
from emulators.stack.directory import Loaded, core_is_empty, load_directory, write_first_directory
from emulators.stack.part import PartState
from emulators.stack.plan import DIRECTORY_COPY, Plan, Planner
from emulators.stack.probes import http_get
from emulators.stack.supervisor import Supervisor, together

HEALTHY_SECONDS = 30.0
BROKEN_SECONDS = 5.0
HEALTH_PAUSE_SECONDS = 0.05


class UnhealthyError(Exception):
    """The parts run, but a host does not report health; the message holds its last answer."""


class Stack:
    """Redis, the emulators, SQLite with a directory, and function app hosts, up from entry to exit.

    `async with Stack(tmp_path, {"SESSION_TTL_SECONDS": "3"}, hosts=3) as stack:` has everything healthy and the demo
    directory loaded; `stack.addresses.api` is the first host's API, `stack.addresses.hosts` has all of them.

    Parts go by name: `redis`, `event-hubs`, `web-pubsub`, `identity`, `host-1`, `host-2`…. One that dies by itself is
    restarted within a second at the same port; one that was ended by `stop` or `kill` stays down until `start`.

    `settings` are the product's, and `REDIS_SERVER`, `API_PORT`, `REDIS_PORT`, `EVENT_HUBS_PORT`, `WEB_PUBSUB_PORT`,
    `IDENTITY_PORT`. Given `Redis`, `EventHubConnection`, `WebPubSub`, `AUTH_ISSUER`, `SqlMonitor` or `SqlCore`, that
    service is used and none started. Nothing is taken from the process's own environment.

    Everything is kept in `directory`, whose data a later stack finds again: `log/<part>.log`, `redis/`, `core.db`,
    `monitor.db`, `host-storage/`, `directory/` (CSV), and `stack.json` while it is healthy.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        hosts: int = 1,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory = directory.resolve()
        self._settings = dict(settings or {})
        self._host_count = hosts
        self._report = report
        self._supervisor = Supervisor(self.directory, report=report, on_change=self._write_stack_file)
        self._plan: Plan | None = None
        self._is_up = False

    @property
    def plan(self) -> Plan:
        """What runs where, and the environment of the product's processes; known once the stack is opened."""
        if self._plan is None:
            raise RuntimeError("the stack is not open")
        return self._plan

    @property
    def addresses(self) -> Addresses:
        """Where to find what; the content of `stack.json`."""
        return self.plan.addresses

    async def __aenter__(self) -> Self:
        """Returns when every host is healthy.

        Raises AlreadyRunningError, PortTakenError, ProgramMissingError, PartFailedError, DirectoryNotLoadedError or
        UnhealthyError, with nothing left running.
        """
        await self._supervisor.open()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stops the hosts, then the rest; returns when no process is left."""
        await self._close()

    async def start(self, part: str) -> None:
        """Starts a part again; returns when it is ready (a host: when it listens), raises PartFailedError."""
        await self._supervisor.parts[part].start()

    async def stop(self, part: str) -> None:
        """Stops a part gracefully."""
        await self._supervisor.parts[part].stop()

    async def kill(self, part: str) -> None:
        """Kills a part without warning (SIGKILL)."""
        await self._supervisor.parts[part].kill()

    def pause(self, part: str) -> None:
        """Freezes a part (SIGSTOP): connections stay open, nothing is answered."""
        self._supervisor.parts[part].pause()

    def resume(self, part: str) -> None:
        """Lets a frozen part go on (SIGCONT)."""
        self._supervisor.parts[part].resume()

    def state(self, part: str) -> PartState:
        """What a part does now."""
        return self._supervisor.parts[part].state

    def pid(self, part: str) -> int | None:
        """Process number of a part, the leader of its group; None when it is down."""
        return self._supervisor.parts[part].pid

    def log(self, part: str) -> str:
        """What a part has logged since the stack was opened."""
        return self._supervisor.parts[part].log_path.read_text(errors="replace")

    async def load_directory(self, source: Path) -> Loaded:
        """Loads a directory from CSV files; it is in force on return. Raises DirectoryNotLoadedError."""
        return await load_directory(self.directory, source, self.plan.environment)

    async def wait_until_healthy(self, seconds: float = HEALTHY_SECONDS) -> None:
        """Returns when every running host answers its health call with 200; raises UnhealthyError after `seconds`."""
        for name, api in zip(self.plan.hosts, self.addresses.hosts, strict=True):
            if self.state(name) is not PartState.STOPPED:
                log = self._supervisor.parts[name].log_path
                await _wait_until_healthy(name, f"{api}/health", log, seconds)

    async def _open(self) -> None:
        started = time.monotonic()
        self._plan = plan = Planner(self.directory, self._settings, self._host_count).plan()
        for name, setting in plan.external.items():
            self._report(f"{name:<12} {'given by ' + setting:<32} not started")
        for spec in plan.parts:
            self._supervisor.add(spec)
        write_first_directory(self.directory)
        if "redis" in plan.services:  # in a moment; the directory is loaded into it while the rest starts
            await self._supervisor.start(["redis"])
        rest = [part.name for part in plan.parts if part.name != "redis"]
        await together(self._supervisor.start(rest), self._load_first_directory())
        await self.wait_until_healthy()
        self._is_up = True
        self._write_stack_file()
        self._report(f"healthy after {time.monotonic() - started:.1f} s")

    async def _load_first_directory(self) -> None:
        if core_is_empty(self.addresses.sql_core):
            started = time.monotonic()
            await self.load_directory(self.directory / DIRECTORY_COPY)
            self._report(
                f"{'directory':<12} {self.addresses.sql_core:<32} loaded in {time.monotonic() - started:.2f} s"
            )

    async def _close(self) -> None:
        self._is_up = False
        remove_stack_file(self.directory)
        if self._plan is not None:
            await self._supervisor.stop(name for name in self._plan.hosts if name in self._supervisor.parts)
        await self._supervisor.close()
        if self._plan is not None:
            self._plan.release()

    def _write_stack_file(self) -> None:
        if self._is_up:
            processes = {name: process.pid for name, process in self._supervisor.processes().items()}
            write_stack_file(self.directory, self.addresses, os.getpid(), processes)


async def _wait_until_healthy(name: str, url: str, log: Path, seconds: float) -> None:
    started = time.monotonic()
    deadline, answer = started + seconds, "nothing"
    while time.monotonic() < deadline:
        try:
            status, body = await http_get(url)
        except (OSError, TimeoutError) as error:
            answer = str(error) or type(error).__name__
        else:
            checks = body.get("checks", {}) if isinstance(body, dict) else {}
            if status == 200 and all(checks.values()):
                return
            wrong = ", ".join(check for check, is_well in checks.items() if not is_well)
            answer = f"status {status}" + (f", not well: {wrong}" if wrong else "")
            if status not in (200, 503):  # it is broken rather than waiting for something
                deadline = min(deadline, started + BROKEN_SECONDS)
        await asyncio.sleep(HEALTH_PAUSE_SECONDS)
    waited = time.monotonic() - started
    raise UnhealthyError(f"{name} is not healthy after {waited:.0f} s: {url} answers {answer}; its log: {log}")
