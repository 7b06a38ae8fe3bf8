"""The Event Hubs emulator as a process: its ready line, its end, and what survives a restart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from azure.eventhub import EventData

from tests.emulators.event_hubs_support import DEADLINE, Clients, Emulator, hurry_clients


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulators.event_hubs", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_it_prints_one_ready_line_and_ends_on_a_signal() -> None:
    emulator = Emulator("--hub", "hub")
    assert emulator.port > 0
    emulator.process.terminate()
    assert emulator.process.stdout is not None
    assert emulator.process.stdout.read() == ""
    assert emulator.stop() == 0


def test_it_ends_with_its_parent() -> None:
    emulator = Emulator("--hub", "hub")
    assert emulator.process.stdin is not None
    emulator.process.stdin.close()
    assert emulator.process.wait(DEADLINE) == 0
    emulator.stop()


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    emulator = Emulator("--hub", "hub")
    result = run("--port", str(emulator.port), "--hub", "hub")
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"{emulator.port}" in line
    assert emulator.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--hub"),
        (("--hub", "../x"), "is not a name"),
        (("--hub", "h", "--partitions", "0"), "whole number from 1 to 1024"),
        (("--hub", "h", "--port", "70000"), "whole number from 0 to 65535"),
        (("--hub", "h", "--retention-seconds", "soon"), "number of seconds"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_help_says_how_to_connect() -> None:
    text = run("--help").stdout
    assert "UseDevelopmentEmulator=true" in text
    assert "--retention-seconds" in text


def test_data_of_another_shape_is_refused(tmp_path: Path) -> None:
    Emulator("--hub", "hub", "--data-dir", str(tmp_path)).stop()
    assert json.loads((tmp_path / "hub" / "hub.json").read_text())["partitions"] == 4
    result = run("--port", "0", "--hub", "hub", "--data-dir", str(tmp_path), "--partitions", "8")
    assert result.returncode == 1
    assert "start with --partitions 4" in result.stderr


@pytest.mark.parametrize("kill", [False, True])
async def test_a_restart_loses_no_accepted_event(tmp_path: Path, kill: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_clients(monkeypatch)
    arguments = ("--hub", "hub", "--data-dir", str(tmp_path), "--partitions", "2")
    emulator = Emulator(*arguments)
    clients = Clients(emulator.connection_string())
    producer = clients.producer("hub")
    for number in range(10):
        await producer.send_batch([EventData(f"{number}a"), EventData(f"{number}b")], partition_id="1")
    before = await clients.receive("hub", partition_id="1").get(20)
    await clients.close()
    emulator.stop(kill=kill)

    emulator = Emulator(*arguments)
    clients = Clients(emulator.connection_string())
    resumed = clients.receive("hub", partition_id="1", starting_position=before[9].offset)
    assert [describe(event) for event in await resumed.get(10)] == [describe(event) for event in before[10:]]
    await clients.producer("hub").send_event(EventData("new"), partition_id="1")
    new = (await resumed.get(11))[10]
    assert (new.body_as_str(), new.sequence_number) == ("new", 20)
    await clients.close()
    assert emulator.stop() == 0


def describe(event: EventData) -> tuple[object, ...]:
    return event.body_as_str(), event.sequence_number, event.offset, event.enqueued_time
