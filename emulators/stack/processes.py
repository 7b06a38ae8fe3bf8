"""Processes by identity rather than by number: what runs, what is left over after a crash, and its end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that a later one with the same number is not mistaken for."""

    pid: int
    started: str


def identify(pid: int) -> ProcessId:
    """The identity of the running process `pid`."""
    return ProcessId(pid, _stat(pid)[1])


def is_alive(process: ProcessId) -> bool:
    """Whether it still runs; one that has ended and was not reaped yet (a zombie) does not."""
    state, started = _stat(process.pid)
    return state not in ("", "Z", "X") and started == process.started


def signal_group(process: ProcessId, number: int) -> None:
    """Sends a signal to the process and to all that it started in its group; nothing if it has ended.

    Parts of a stack lead their own groups, the supervisor and its starter do not: those are sent the signal alone.
    """
    if not is_alive(process):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


async def end(processes: Iterable[ProcessId], seconds: float) -> None:
    """Returns when none of them is left: SIGTERM (also to stopped ones), and SIGKILL after `seconds`."""
    left = [process for process in processes if is_alive(process)]
    for process in left:
        signal_group(process, signal.SIGTERM)
        signal_group(process, signal.SIGCONT)
    deadline = time.monotonic() + seconds
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() > deadline:
            for process in left:
                signal_group(process, signal.SIGKILL)
        await asyncio.sleep(0.02)


def write_record(path: Path, processes: dict[str, ProcessId]) -> None:
    """Writes down what runs, so that it can be ended by `end` after its supervisor was killed."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({name: asdict(process) for name, process in processes.items()}, indent=2))
    temporary.replace(path)


def read_record(path: Path) -> dict[str, ProcessId]:
    """What `write_record` wrote; empty if there is nothing."""
    try:
        return {name: ProcessId(**fields) for name, fields in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}


def _stat(pid: int) -> tuple[str, str]:
    """State letter and start time of a process, as the system words them; empty if there is none."""
    if sys.platform == "linux":
        try:
            # proc(5): the name in parentheses may hold anything, the fields after it are numbers; 3 is the state, 22
            # the start in clock ticks since boot.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return "", ""
        return fields[0], fields[19]
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return (shown[0][0], shown[1].strip()) if len(shown) == 2 else ("", "")
