"""One process of a stack: started, seen to be ready, restarted when it dies, stopped."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from emulators.stack.processes import ProcessId, identify

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 10.0
SHOWN_LOG_LINES = 15


@dataclass(frozen=True)
class PartSpec:
    """What to run and how to tell that it is ready."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str
    is_ready: Callable[[], Awaitable[None]] | None = None  # None: a line {"event":"ready",…} on stdout
    start_seconds: float = 30.0
    stop_seconds: float = 5.0
    directory: Path = field(default_factory=Path.cwd)


class PartState(StrEnum):
    """What a part does now."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"


class PartFailedError(Exception):
    """A part did not start; the message says why and shows the end of its log."""

    def __init__(self, name: str, reason: str, log_tail: str = "") -> None:
        self.name = name
        super().__init__(f"{name} {reason}" + (f"\n{log_tail}" if log_tail else ""))


class Part:
    """Runs a PartSpec. `on_change` is called whenever its process or its state has changed.

    The process leads its own process group, so that Ctrl-C reaches the supervisor alone and a signal reaches all that
    the part has started. It holds the reading end of a pipe as stdin: when the supervisor dies, the part sees its end.
    """

    def __init__(
        self,
        spec: PartSpec,
        log_directory: Path,
        *,
        report: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log_path = log_directory / f"{spec.name}.log"
        self.state = PartState.STOPPED
        self.process_id: ProcessId | None = None
        self._report = report
        self._on_change = on_change
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._output: asyncio.Task[None] | None = None
        self._ready_line = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process number of the part (of its guard, for a program that is not ours), or None when it is down."""
        return self.process_id.pid if self.process_id else None

    async def start(self) -> float:
        """Returns the seconds it took until the part was ready; raises PartFailedError. Nothing if it runs."""
        if self.state is not PartState.STOPPED:
            return 0.0
        self._set_state(PartState.STARTING)
        started = time.monotonic()
        try:
            await self._launch()
        except BaseException:
            await self._end_process(self.spec.stop_seconds)
            self._set_state(PartState.STOPPED)
            raise
        self._watcher = asyncio.create_task(self._restart_when_it_dies(), name=f"watch {self.spec.name}")
        self._set_state(PartState.RUNNING)
        return time.monotonic() - started

    async def stop(self) -> None:
        """Stops the part gracefully: SIGTERM, and SIGKILL after the spec's `stop_seconds`."""
        await self._down(self.spec.stop_seconds)

    async def kill(self) -> None:
        """Kills the part without warning (SIGKILL); it stays down until `start()`."""
        await self._down(0.0)

    def pause(self) -> None:
        """Freezes the part (SIGSTOP): its connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)
        self._set_state(PartState.PAUSED)

    def resume(self) -> None:
        """Lets a paused part go on."""
        self._signal(signal.SIGCONT)
        self._set_state(PartState.RUNNING)

    async def _down(self, seconds: float) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        await self._end_process(seconds)
        self._set_state(PartState.STOPPED)

    async def _launch(self) -> None:
        self._ready_line.clear()
        with self.log_path.open("ab") as log:
            log_start = log.tell()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self.spec.command,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=log,
                    env=dict(self.spec.environment),
                    cwd=self.spec.directory,
                    process_group=0,
                )
            except OSError as error:
                raise PartFailedError(self.spec.name, f"cannot be started: {error}") from error
        self.process_id = identify(self._process.pid)
        self._on_change()
        self._output = asyncio.create_task(self._read_output(self._process))
        exited = asyncio.create_task(self._process.wait())
        ready = asyncio.create_task(self._wait_until_ready())
        try:
            await asyncio.wait({exited, ready}, timeout=self.spec.start_seconds, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not exited.done():
                ready.result()
                return
            reason = (
                f"ended while it started ({describe_exit(exited.result())})"
                if exited.done()
                else f"was not ready within {self.spec.start_seconds:g} s"
            )
        finally:
            for task in (exited, ready):
                task.cancel()
            await asyncio.wait({exited, ready})
        await self._end_process(self.spec.stop_seconds)
        raise PartFailedError(self.spec.name, reason, self._log_tail(log_start))

    async def _wait_until_ready(self) -> None:
        await (self.spec.is_ready() if self.spec.is_ready else self._ready_line.wait())

    async def _read_output(self, process: Process) -> None:
        """Waits for the ready line; whatever the part prints goes to its log."""
        if process.stdout is None:
            return
        with self.log_path.open("ab", buffering=0) as log:
            while not self._ready_line.is_set() and (line := await process.stdout.readline()):
                log.write(line)
                if is_ready_line(line):
                    self._ready_line.set()
            while chunk := await process.stdout.read(65536):
                log.write(chunk)

    async def _restart_when_it_dies(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            if self._process is not None:
                since = time.monotonic()
                code = await self._process.wait()
                if time.monotonic() - since > LONGEST_BACKOFF_SECONDS * 3:
                    backoff = FIRST_BACKOFF_SECONDS
                await self._end_process(0.0)
                self._set_state(PartState.RESTARTING)
                ended = f"{self.spec.name} ended ({describe_exit(code)})"
                self._report(f"{ended}, starting it again in {backoff:g} s; its log: {self.log_path}")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
            try:
                await self._launch()
            except PartFailedError as error:
                self._report(f"{error}\n{self.spec.name}: next try in {backoff:g} s")
            else:
                self._set_state(PartState.RUNNING)
                self._report(f"{self.spec.name} runs again")

    async def _end_process(self, seconds: float) -> None:
        """Ends the process and everything left of its group, and closes our ends of its pipes."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None and seconds > 0:
            _signal_group(process.pid, signal.SIGTERM)
            _signal_group(process.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        if self._output is not None:
            await asyncio.wait([self._output])
        self.process_id = None
        self._on_change()

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise PartFailedError(self.spec.name, "is not running")
        _signal_group(self._process.pid, number)

    def _set_state(self, state: PartState) -> None:
        self.state = state
        self._on_change()

    def _log_tail(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-SHOWN_LOG_LINES:])


def is_ready_line(line: bytes) -> bool:
    """Whether a line of output is the JSON by which an emulator tells that it listens."""
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("event") == "ready"


def describe_exit(code: int) -> str:
    """`exit code 1`, or `SIGKILL`."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
