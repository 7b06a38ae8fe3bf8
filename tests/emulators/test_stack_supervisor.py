"""Supervisors and the commands that find them, with small scripts in the place of the parts."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emulators.stack import guard
from emulators.stack.background import down, status
from emulators.stack.part import PartFailedError, PartSpec, PartState
from emulators.stack.processes import ProcessId, identify, is_alive, read_record
from emulators.stack.supervisor import RECORD_NAME, AlreadyRunningError, Supervisor, is_locked
from tests.emulators.test_stack_parts import REFUSES, SERVES, SILENT, until

GUARDED = (sys.executable, "-I", "-S", guard.__file__, "--", "sleep", "600")

# A supervisor in a process of its own: one part of ours, one that would ignore everything but SIGKILL for a while,
# and one guarded program.
SUPERVISOR = f"""
import asyncio, sys
from pathlib import Path
from emulators.stack.part import PartSpec
from emulators.stack.supervisor import Supervisor

async def at_once():
    pass

async def main():
    supervisor = Supervisor(Path(sys.argv[1]), report=print)
    await supervisor.open()
    supervisor.add(PartSpec("ours", (sys.executable, "-c", {SERVES!r}), {{}}, "nowhere"))
    supervisor.add(PartSpec("deaf", (sys.executable, "-c", {SILENT!r}), {{}}, "nowhere", at_once))
    supervisor.add(PartSpec("redis", {GUARDED!r}, {{"PATH": "/usr/bin:/bin"}}, "nowhere", at_once))
    await supervisor.start(supervisor.parts)
    print("started", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stop.set)
    await stop.wait()
    await supervisor.close()

asyncio.run(main())
"""


def spec(name: str, script: str = SERVES) -> PartSpec:
    return PartSpec(name=name, command=(sys.executable, "-c", script), environment=dict(os.environ), address="nowhere")


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "stack", report=lambda _: None)
    await supervisor.open()
    yield supervisor
    await supervisor.close()


class SeparateSupervisor:
    """The script above, running in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(directory)], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == b"started\n":
                break
        self.parts = read_record(directory / RECORD_NAME)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
async def separate(tmp_path: Path) -> AsyncIterator[SeparateSupervisor]:
    separate = SeparateSupervisor(tmp_path / "stack")
    yield separate
    separate.close()
    await down(separate.directory, lambda _: None)


async def child_of(parent: ProcessId) -> ProcessId:
    def children() -> list[int]:
        shown = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [int(pid) for pid, ppid in (line.split() for line in shown.splitlines()) if int(ppid) == parent.pid]

    await until(lambda: bool(children()))
    return identify(children()[0])


async def test_all_parts_start_and_stop(supervisor: Supervisor) -> None:
    for name in ("one", "two", "three"):
        supervisor.add(spec(name))
    await supervisor.start(supervisor.parts)
    processes = supervisor.processes()
    assert read_record(supervisor.directory / RECORD_NAME) == processes
    assert set(processes) == {"one", "two", "three"}
    await supervisor.close()
    assert not any(is_alive(process) for process in processes.values())
    assert not is_locked(supervisor.directory)


async def test_a_part_that_cannot_start_is_named_and_the_others_can_be_stopped(supervisor: Supervisor) -> None:
    supervisor.add(spec("good"))
    supervisor.add(spec("bad", REFUSES))
    supervisor.add(spec("slow", SILENT))
    with pytest.raises(PartFailedError, match="bad ended while it started"):
        await supervisor.start(supervisor.parts)
    await supervisor.close()
    assert {part.state for part in supervisor.parts.values()} == {PartState.STOPPED}


async def test_a_directory_has_one_supervisor(supervisor: Supervisor) -> None:
    with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
        await Supervisor(supervisor.directory, report=lambda _: None).open()


async def test_supervisors_of_two_directories_run_side_by_side(supervisor: Supervisor, tmp_path: Path) -> None:
    other = Supervisor(tmp_path / "other", report=lambda _: None)
    await other.open()
    for each in (supervisor, other):
        each.add(spec("part"))
        await each.start(["part"])
    await other.close()
    assert is_alive(supervisor.processes()["part"])


async def test_down_stops_a_running_supervisor(separate: SeparateSupervisor) -> None:
    assert is_locked(separate.directory)
    said: list[str] = []
    assert await down(separate.directory, said.append) == 0
    assert said == ["stopped"]
    assert not any(is_alive(process) for process in separate.parts.values())
    assert not is_locked(separate.directory)


async def test_nothing_is_left_after_the_supervisor_was_killed_and_down(separate: SeparateSupervisor) -> None:
    """One part ends by itself when its stdin ends, Redis with its guard; `down` ends the one that is deaf to both."""
    redis = await child_of(separate.parts["redis"])
    separate.process.kill()
    await until(lambda: not is_alive(separate.parts["ours"]) and not is_alive(separate.parts["redis"]))
    assert is_alive(separate.parts["deaf"])
    said: list[str] = []
    assert await down(separate.directory, said.append) == 0
    assert "ended deaf" in said[0]
    assert not any(is_alive(process) for process in separate.parts.values())
    assert not is_alive(redis)


async def test_a_new_supervisor_takes_over_from_a_killed_one(separate: SeparateSupervisor) -> None:
    separate.process.kill()
    separate.process.wait()
    successor = Supervisor(separate.directory, report=lambda _: None)
    await successor.open()
    assert not any(is_alive(process) for process in separate.parts.values())
    await successor.close()


async def test_down_without_a_stack_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    assert await down(tmp_path, said.append) == 0
    assert await status(tmp_path, said.append) == 1
    assert said == ["no stack is running here"] * 2


async def test_a_supervisor_that_ignores_its_stop_is_not_waited_for_without_end(
    separate: SeparateSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulators.stack.background.STOP_SECONDS", 0.3)
    monkeypatch.setattr("emulators.stack.supervisor.LEFTOVER_SECONDS", 0.3)
    os.kill(separate.process.pid, signal.SIGSTOP)
    async with asyncio.timeout(10):
        assert await down(separate.directory, lambda _: None) == 0
    assert not any(is_alive(process) for process in separate.parts.values())
