"""`python -m emulators.stack run|up|down|status|load-directory DIR|operate …`."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from emulators.stack.background import down, show_addresses, status, up
from emulators.stack.directory import DirectoryNotLoadedError, load_directory
from emulators.stack.part import PartFailedError
from emulators.stack.plan import CHECKOUT, environment_of
from emulators.stack.ports import PortTakenError
from emulators.stack.redis_server import ProgramMissingError
from emulators.stack.report import Report
from emulators.stack.settings import given, number
from emulators.stack.stack import Stack, UnhealthyError
from emulators.stack.supervisor import AlreadyRunningError

INTERRUPTED = 130
PARENT_SECONDS = 0.5
IMPATIENT_SECONDS = 1.0
START_ERRORS = (
    AlreadyRunningError,
    DirectoryNotLoadedError,
    PartFailedError,
    PortTakenError,
    ProgramMissingError,
    UnhealthyError,
    ValueError,
)


def main() -> int:
    """Runs one command; the exit code is 0 when it did what its name says."""
    options = _parser().parse_args()
    directory: Path = options.directory.resolve()
    match options.command:
        case "up":
            return asyncio.run(_interruptible(up(directory, _show)))
        case "down":
            return asyncio.run(_interruptible(down(directory, _show)))
        case "status":
            return asyncio.run(status(directory, _show))
        case "load-directory":
            return asyncio.run(_interruptible(_load_directory(directory, options.source)))
        case "operate":
            return _operate(directory, options.arguments)
        case _:
            simulator = options.simulator if options.simulate else None
            work = _run(directory, Report(options.report_to), simulator)
            return asyncio.run(_interruptible(work, exit_with_parent=options.exit_with_parent))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.stack",
        description="The whole system on this machine. Settings of the product are taken from the environment; so are "
        "HOSTS (how many function app hosts), REDIS_SERVER, and API_PORT, REDIS_PORT, EVENT_HUBS_PORT, "
        "WEB_PUBSUB_PORT, IDENTITY_PORT.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--directory", type=Path, default=CHECKOUT / ".local", help="default: .local")
        return added

    run = command("run", "starts the stack in the foreground; Ctrl-C stops it")
    run.add_argument("--simulate", action="store_true", help="drive it with simulated front-ends, then stop")
    run.add_argument("--exit-with-parent", action="store_true", help="stop when the starter is gone")
    run.add_argument("--report-to", type=int, metavar="FD", help=argparse.SUPPRESS)
    run.add_argument("simulator", nargs="*", metavar="-- OPTION", help="options of the simulator")
    command("up", "starts the stack in the background; returns when it is healthy")
    command("down", "stops the stack; returns when no process is left")
    command("status", "shows the parts, their health and their addresses")
    load = command("load-directory", "loads a directory from one CSV per core table; in force on return")
    load.add_argument("source", type=Path, metavar="DIR")
    operate = command("operate", "backlog, dead-letters, replay or discard, on the stack that runs")
    operate.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND …")
    return parser


async def _interruptible(work: Coroutine[Any, Any, int], *, exit_with_parent: bool = False) -> int:
    """Has SIGINT, SIGTERM and SIGHUP end the work in an orderly way; one that comes later ends this process at once.

    So does the death of the process that started this one, if asked for.
    """
    parent = os.getppid()
    interrupted_at: float | None = None
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)

    def interrupt() -> None:
        nonlocal interrupted_at
        if interrupted_at is None:
            interrupted_at = loop.time()
            task.cancel()
        elif loop.time() - interrupted_at > IMPATIENT_SECONDS:  # not the same key press, told by several processes
            os._exit(INTERRUPTED)  # the parts see their stdin end

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for signal_number in signals:
        loop.add_signal_handler(signal_number, interrupt)

    def look_for_parent() -> None:
        if os.getppid() != parent:
            interrupt()
        else:
            loop.call_later(PARENT_SECONDS, look_for_parent)

    if exit_with_parent:
        look_for_parent()
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED


async def _run(directory: Path, report: Report, simulator: Sequence[str] | None) -> int:
    """Runs the stack until it is interrupted (0) or cannot start (1), or the simulator ends (its exit code)."""
    try:
        stack = Stack(directory, os.environ, hosts=number(os.environ, "HOSTS") or 1, report=report)
        async with stack:
            show_addresses(directory, report)
            report.started()
            try:
                return await (_simulate(directory, simulator, report) if simulator is not None else _forever())
            except asyncio.CancelledError:
                return 0
            finally:
                report("stopping")
    except START_ERRORS as error:
        report(f"not started: {error}")
        return 1


async def _forever() -> int:
    await asyncio.Event().wait()
    return 0


async def _simulate(directory: Path, options: Sequence[str], report: Report) -> int:
    """Runs the simulator in this terminal; what is reported meanwhile goes to its stdin, for it to show."""
    command = (sys.executable, "-m", "emulators.simulator", "--stack", str(directory), "--notices-from-stdin", *options)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, cwd=CHECKOUT, process_group=None)
    assert process.stdin is not None  # noqa: S101 - PIPE above
    report.redirect(process.stdin)
    try:
        return await process.wait()
    finally:
        process.stdin.close()
        await process.wait()
        report.redirect(None)


def _operate(directory: Path, arguments: Sequence[str]) -> int:
    """Runs the product's own command with the settings of the stack that runs; returns its exit code."""
    environment = environment_of(directory, os.environ)
    if not given(environment, "Redis"):
        _show(f"no stack is running in {directory}: start it with `make up`, or name its Redis")
        return 1
    command = (sys.executable, "-m", "shared.operate", *arguments)
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode  # noqa: S603 -- our own


async def _load_directory(directory: Path, source: Path) -> int:
    """Returns 0, 1 if nothing was loaded, or 2 if rows were left out."""
    environment = environment_of(directory, os.environ)
    if not given(environment, "Redis"):
        _show(f"no stack is running in {directory}: start it with `make up`, or name its Redis and SqlCore")
        return 1
    try:
        loaded = await load_directory(directory, source, environment)
    except DirectoryNotLoadedError as error:
        _show(str(error))
        return 1
    _show(loaded.said)
    return 0 if loaded.is_complete else 2


def _show(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
