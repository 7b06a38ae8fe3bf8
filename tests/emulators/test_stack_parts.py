"""One supervised process, its guard and its port."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from emulators.host.storage import SharedStorage
from emulators.stack import guard
from emulators.stack.part import Part, PartFailedError, PartSpec, PartState, describe_exit, is_ready_line
from emulators.stack.plan import forget_claims
from emulators.stack.ports import HIGHEST, LOWEST, PortTakenError, choose_port
from emulators.stack.processes import ProcessId, end, identify, is_alive, read_record, write_record

READY = 'import sys, time\nprint(\'{"event":"ready","port":1}\', flush=True)\n'
SERVES = READY + "sys.stdin.read()\n"
IGNORES_SIGTERM = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(600)\n"
REFUSES = "import sys\nsys.exit('settings.py: REDIS is not an address')\n"
SILENT = "import time\ntime.sleep(600)\n"
WITH_A_CHILD = (
    "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
    'print(\'{"event":"ready","port":1}\', flush=True)\nprint(child.pid, flush=True)\nchild.wait()\n'
)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Fixture:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.parts: list[Part] = []
        self.reports: list[str] = []

    def part(self, script: str, *, start_seconds: float = 10.0, stop_seconds: float = 5.0) -> Part:
        spec = PartSpec(
            name="part",
            command=(sys.executable, "-c", script),
            environment=dict(os.environ),
            address="nowhere",
            start_seconds=start_seconds,
            stop_seconds=stop_seconds,
        )
        part = Part(spec, self.directory, report=self.reports.append, on_change=lambda: None)
        self.parts.append(part)
        return part


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[Fixture]:
    fixture = Fixture(tmp_path)
    yield fixture
    for part in fixture.parts:
        await part.kill()


def state_of(part: Part) -> PartState:
    return part.state


def process_of(part: Part) -> ProcessId:
    assert part.process_id is not None
    return part.process_id


async def test_a_part_runs_from_its_ready_line_to_its_stop(stand_in: Fixture) -> None:
    part = stand_in.part(SERVES)
    await part.start()
    process = process_of(part)
    assert state_of(part) is PartState.RUNNING
    assert is_alive(process)
    await part.stop()
    assert state_of(part) is PartState.STOPPED
    assert part.pid is None
    assert not is_alive(process)


async def test_a_part_that_ends_while_it_starts_fails_with_the_end_of_its_log(stand_in: Fixture) -> None:
    part = stand_in.part(REFUSES)
    with pytest.raises(PartFailedError) as failure:
        await part.start()
    assert "exit code 1" in str(failure.value)
    assert "REDIS is not an address" in str(failure.value)
    assert state_of(part) is PartState.STOPPED


async def test_a_part_that_never_gets_ready_fails_and_is_ended(stand_in: Fixture) -> None:
    part = stand_in.part(SILENT, start_seconds=0.3)
    with pytest.raises(PartFailedError, match=r"not ready within 0\.3 s"):
        await part.start()
    assert part.pid is None


async def test_a_program_that_is_missing_is_named(stand_in: Fixture) -> None:
    part = stand_in.part(SERVES)
    part.spec = PartSpec(name="part", command=("/no/such/program",), environment={}, address="nowhere")
    with pytest.raises(PartFailedError, match="/no/such/program"):
        await part.start()


async def test_a_part_that_dies_is_reported_and_restarted(stand_in: Fixture) -> None:
    part = stand_in.part(SERVES)
    await part.start()
    first = process_of(part)
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: part.process_id not in (None, first) and part.state is PartState.RUNNING)
    assert "SIGKILL" in stand_in.reports[0]
    assert stand_in.reports[-1] == "part runs again"


async def test_a_part_that_cannot_be_restarted_is_tried_again_later(stand_in: Fixture, tmp_path: Path) -> None:
    flag = tmp_path / "fails"
    part = stand_in.part(f"import os\nif os.path.exists({str(flag)!r}): raise SystemExit('still broken')\n" + SERVES)
    await part.start()
    flag.touch()
    os.kill(process_of(part).pid, signal.SIGKILL)
    await until(lambda: any("still broken" in report for report in stand_in.reports))
    flag.unlink()
    await until(lambda: part.state is PartState.RUNNING)


async def test_a_killed_part_stays_down_until_it_is_started(stand_in: Fixture) -> None:
    part = stand_in.part(SERVES)
    await part.start()
    process = process_of(part)
    await part.kill()
    assert not is_alive(process)
    assert state_of(part) is PartState.STOPPED
    assert stand_in.reports == []
    await part.start()
    assert is_alive(process_of(part))


async def test_a_part_that_ignores_sigterm_is_killed(stand_in: Fixture) -> None:
    part = stand_in.part(IGNORES_SIGTERM, stop_seconds=0.2)
    await part.start()
    process = process_of(part)
    await part.stop()
    assert not is_alive(process)


async def test_a_paused_part_is_stopped_too(stand_in: Fixture) -> None:
    part = stand_in.part(SERVES)
    await part.start()
    process = process_of(part)
    part.pause()
    assert state_of(part) is PartState.PAUSED
    await part.stop()
    assert not is_alive(process)


async def test_what_a_part_has_started_ends_with_it(stand_in: Fixture) -> None:
    part = stand_in.part(WITH_A_CHILD)
    await part.start()
    await until(lambda: len(part.log_path.read_text().splitlines()) == 2)
    grandchild = identify(int(part.log_path.read_text().splitlines()[1]))
    assert is_alive(grandchild)
    await part.kill()
    await until(lambda: not is_alive(grandchild))


def test_the_ready_line_is_told_from_other_output() -> None:
    assert is_ready_line(b'{"event":"ready","port":5672}')
    assert not is_ready_line(b'{"event":"stopping"}')
    assert not is_ready_line(b"[1]")
    assert not is_ready_line(b"Listening on 5672")


def test_exits_are_described_by_code_or_signal() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "SIGKILL"


# guard


def start_guard(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, "--", *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )


def child_under(process: subprocess.Popen[bytes]) -> ProcessId:
    """The guarded shell prints its own number first."""
    assert process.stderr is not None
    return identify(int(process.stderr.readline()))


SLEEPS = ("sh", "-c", "echo $$; exec sleep 600")


async def test_the_guarded_program_ends_when_the_starters_pipe_closes() -> None:
    with start_guard(*SLEEPS) as process:
        child = child_under(process)
        assert is_alive(child)
        assert process.stdin is not None
        process.stdin.close()
        await until(lambda: not is_alive(child))
        assert process.wait(10) == 128 + signal.SIGTERM


async def test_the_guarded_program_ends_when_its_starter_is_killed() -> None:
    """The starter is a process of its own that holds the guard's stdin."""
    command = [sys.executable, "-I", "-S", guard.__file__, "--", *SLEEPS]
    starter_script = f"import subprocess\nsubprocess.Popen({command!r}, stdin=subprocess.PIPE).wait()"
    with subprocess.Popen([sys.executable, "-c", starter_script], stderr=subprocess.PIPE) as starter:
        child = child_under(starter)
        starter.kill()
        await until(lambda: not is_alive(child))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
async def test_the_guarded_program_ends_when_the_guard_is_killed() -> None:
    with start_guard(*SLEEPS) as process:
        child = child_under(process)
        process.kill()
        await until(lambda: not is_alive(child))


def test_the_guard_ends_with_the_exit_code_of_its_program() -> None:
    with start_guard("sh", "-c", "exit 7") as process:
        assert process.wait(10) == 7


def test_the_guard_names_a_program_that_is_missing() -> None:
    with start_guard("/no/such/program") as process:
        assert process.wait(10) == 127
        assert process.stderr is not None
        assert b"/no/such/program cannot be started" in process.stderr.read()


# ports and processes


def test_a_chosen_port_is_free_and_outside_the_range_of_clients() -> None:
    port = choose_port()
    try:
        assert LOWEST <= port.number <= HIGHEST
        with socket.create_server(("127.0.0.1", port.number)) as server:
            assert server.getsockname()[1] == port.number
    finally:
        port.release()


def test_a_port_in_use_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(PortTakenError, match=str(server.getsockname()[1])),
    ):
        choose_port(server.getsockname()[1])


def test_a_wanted_port_is_given() -> None:
    first = choose_port()
    first.release()
    again = choose_port(first.number)
    again.release()
    assert again.number == first.number


async def test_leftover_processes_are_ended_from_their_record(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SILENT], process_group=0) as process:
        write_record(tmp_path / "record.json", {"silent": identify(process.pid)})
        record = read_record(tmp_path / "record.json")
        assert is_alive(record["silent"])
        await end(record.values(), 5)
        assert not is_alive(record["silent"])


async def test_a_new_stack_does_not_wait_for_the_claims_of_killed_hosts(tmp_path: Path) -> None:
    path = str(tmp_path / "storage.db")
    forget_claims(path)  # nothing there yet
    storage = SharedStorage(path)
    claim = {"partition_id": "0", "owner_id": "dead"}
    assert await storage.take_lease("timer", "dead", 60)
    assert await storage.claim_ownerships("hub", "group", [claim])
    forget_claims(path)
    assert await storage.take_lease("timer", "alive", 60)
    assert await storage.list_ownerships("hub", "group") == []
    storage.close()


async def test_a_process_that_merely_has_the_number_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"part": {"pid": os.getpid(), "started": "long ago"}}))
    record = read_record(tmp_path / "record.json")
    assert not is_alive(record["part"])
    await end(record.values(), 5)
