"""The parts of one stack under one roof: one lock, one record of processes, one start and one stop."""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from emulators.stack.addresses import remove_stack_file
from emulators.stack.part import Part, PartSpec
from emulators.stack.processes import ProcessId, end, identify, read_record, write_record

LOCK_NAME = "stack.lock"
RECORD_NAME = "processes.json"
LEFTOVER_SECONDS = 5.0


class AlreadyRunningError(Exception):
    """Another supervisor runs a stack in this directory."""

    def __init__(self, directory: Path, owner: ProcessId | None) -> None:
        self.owner = owner
        super().__init__(f"a stack is already running in {directory}" + (f" (process {owner.pid})" if owner else ""))


class DirectoryLock:
    """Held by the supervisor of a directory for as long as it lives; its end, however it comes, releases it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file: IO[str] | None = None

    async def acquire(self) -> None:
        """Raises AlreadyRunningError if somebody else holds it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = (self.directory / LOCK_NAME).open("a+")
        for last in (False, False, True):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if last:
                    file.close()
                    raise AlreadyRunningError(self.directory, lock_owner(self.directory)) from None
            await asyncio.sleep(0.05)  # somebody may only have been looking: `is_locked`
        file.truncate(0)
        file.write(json.dumps(asdict(identify(os.getpid()))))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Harmless when repeated."""
        if self._file is not None:
            self._file.close()
            self._file = None


def lock_owner(directory: Path) -> ProcessId | None:
    """The supervisor that last took the lock of a directory; whether it still holds it is for flock to say."""
    try:
        return ProcessId(**json.loads((directory / LOCK_NAME).read_text()))
    except (FileNotFoundError, ValueError):  # never taken, or being written
        return None


def is_locked(directory: Path) -> bool:
    """Whether a supervisor runs in this directory now."""
    try:
        with (directory / LOCK_NAME).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


async def end_leftovers(directory: Path) -> list[str]:
    """Ends what a supervisor that was killed has left running; returns the names of those parts."""
    record = read_record(directory / RECORD_NAME)
    await end(record.values(), LEFTOVER_SECONDS)
    (directory / RECORD_NAME).unlink(missing_ok=True)
    remove_stack_file(directory)
    return list(record)


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Does all of it at the same time; the first failure ends the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


class Supervisor:
    """Parts that run in `directory` (their logs in `directory/log`).

    `report` is told what happens, one text each; `on_change` is called when the processes are others than before.
    """

    def __init__(
        self, directory: Path, *, report: Callable[[str], None], on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.directory = directory
        self.parts: dict[str, Part] = {}
        self._report = report
        self._on_change = on_change
        self._lock = DirectoryLock(directory)

    async def open(self) -> None:
        """Takes the directory and ends what a killed predecessor left in it; raises AlreadyRunningError."""
        await self._lock.acquire()
        log_directory = self.directory / "log"
        log_directory.mkdir(exist_ok=True)
        await end_leftovers(self.directory)

    def add(self, spec: PartSpec) -> Part:
        """Makes a part known, stopped, with an empty log."""
        part = Part(spec, self.directory / "log", report=self._report, on_change=self._record)
        part.log_path.write_bytes(b"")
        self.parts[spec.name] = part
        return part

    async def start(self, names: Iterable[str]) -> None:
        """Starts these parts at the same time; raises the PartFailedError of the first that fails, the rest aborted."""
        await together(*(self._start(self.parts[name]) for name in names))

    async def _start(self, part: Part) -> None:
        seconds = await part.start()
        self._report(f"{part.spec.name:<12} {part.spec.address:<32} ready in {seconds:.2f} s")

    async def stop(self, names: Iterable[str]) -> None:
        """Stops these parts at the same time."""
        await asyncio.gather(*(self.parts[name].stop() for name in names))

    async def close(self) -> None:
        """Stops what still runs and gives the directory back."""
        await self.stop(self.parts)
        (self.directory / RECORD_NAME).unlink(missing_ok=True)
        self._lock.release()

    def processes(self) -> dict[str, ProcessId]:
        """The processes that run now, by part."""
        return {name: part.process_id for name, part in self.parts.items() if part.process_id}

    def _record(self) -> None:
        write_record(self.directory / RECORD_NAME, self.processes())
        self._on_change()
