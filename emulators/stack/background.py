"""`up`, `down` and `status`: a stack that runs without the terminal that started it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from emulators.stack.addresses import read_stack_file
from emulators.stack.plan import CHECKOUT
from emulators.stack.probes import http_get
from emulators.stack.processes import end, is_alive, read_record
from emulators.stack.supervisor import RECORD_NAME, end_leftovers, is_locked, lock_owner

STOP_SECONDS = 30.0
START_SECONDS = 90.0


async def up(directory: Path, show: Callable[[str], None]) -> int:
    """Returns 0 once a stack in `directory` is healthy, started by us or before; 1 if it cannot start."""
    if is_locked(directory):
        return await _wait_for_the_other(directory, show)
    log = directory / "log" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    command = ("run", "--directory", str(directory), "--report-to", str(writer))
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220, S603
            [sys.executable, "-m", "emulators.stack", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=CHECKOUT,
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    try:
        with os.fdopen(reader, encoding="utf-8") as reports:
            while line := await asyncio.to_thread(reports.readline):
                show(line.rstrip("\n"))
    except BaseException:
        process.terminate()
        raise
    if read_stack_file(directory) is not None and process.poll() is None:
        return 0
    if is_locked(directory) and process.wait() != 0 and is_locked(directory):
        return await _wait_for_the_other(directory, show)
    process.wait()
    return 1


async def down(directory: Path, show: Callable[[str], None]) -> int:
    """Returns 0 when no process of the stack in `directory` is left, also of one whose supervisor was killed."""
    owner = lock_owner(directory)
    if is_locked(directory) and owner is not None:
        await end([owner], STOP_SECONDS)
        await end_leftovers(directory)
        show("stopped")
        return 0
    left = [name for name, process in read_record(directory / RECORD_NAME).items() if is_alive(process)]
    await end_leftovers(directory)
    show(f"its supervisor had been killed; ended {', '.join(left)}" if left else "no stack is running here")
    return 0


async def status(directory: Path, show: Callable[[str], None]) -> int:
    """Shows the parts and the health of the stack; returns 0 if it runs and is healthy, else 1."""
    stack = read_stack_file(directory)
    if not is_locked(directory) or stack is None:
        show("starting" if is_locked(directory) else "no stack is running here")
        return 1
    for name, process in read_record(directory / RECORD_NAME).items():
        show(f"{name:<12} process {process.pid:<8} {'runs' if is_alive(process) else 'has ended'}")
    try:
        code, body = await http_get(f"{stack['api']}/health")
    except (OSError, TimeoutError) as error:
        code, body = 0, str(error) or "no answer"
    show(f"{'health':<12} {code} {body}")
    show_addresses(directory, show)
    return 0 if code == 200 else 1


def show_addresses(directory: Path, show: Callable[[str], None]) -> None:
    """Shows where people and tools find the running stack."""
    if stack := read_stack_file(directory):
        for name in ("api", "dashboard", "identity"):
            show(f"{name:<12} {stack[name]}")


async def _wait_for_the_other(directory: Path, show: Callable[[str], None]) -> int:
    owner = lock_owner(directory)
    show(f"already running in {directory}" + (f" (process {owner.pid})" if owner else ""))
    deadline = time.monotonic() + START_SECONDS
    while is_locked(directory) and time.monotonic() < deadline:
        if read_stack_file(directory) is not None:
            show_addresses(directory, show)
            return 0
        await asyncio.sleep(0.1)
    show("but it did not become healthy")
    return 1
