"""`python -m emulators.stack` and `Stack` with all the real parts."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from emulators.stack import Stack
from emulators.stack.part import PartFailedError
from emulators.stack.ports import PortTakenError
from emulators.stack.probes import http_get, redis_answers
from emulators.stack.processes import identify, is_alive
from emulators.stack.redis_server import ProgramMissingError

CONTRACT_KEYS = {
    *("api", "dashboard", "identity", "eventHubs", "eventHubName", "redis"),
    *("webPubSub", "webPubSubHub", "sqlMonitor", "sqlCore"),
}


class Commands:
    """Runs the commands for a stack in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *command: str, **settings: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "emulators.stack", command[0], "--directory", str(self.directory), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            env=os.environ | settings,
            check=False,
        )
        return done.returncode, done.stdout

    def stack(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / "stack.json").read_text())
        return content


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path / "stack")
    yield commands
    commands.run("down")


def test_a_stack_goes_up_answers_takes_a_directory_and_goes_down(commands: Commands, tmp_path: Path) -> None:
    code, output = commands.run("up")
    assert code == 0, output
    stack = commands.stack()
    assert stack.keys() == CONTRACT_KEYS | {"pid", "hosts", "processes"}
    assert set(stack["processes"]) == {"redis", "event-hubs", "web-pubsub", "identity", "host-1"}
    processes = [identify(pid) for pid in (stack["pid"], *stack["processes"].values())]
    status, health = asyncio.run(http_get(f"{stack['api']}/health"))
    assert status == 200
    assert all(health["checks"].values())

    code, output = commands.run("up")
    assert code == 0
    assert "already running" in output
    assert stack["api"] in output
    assert commands.run("status")[0] == 0

    source = tmp_path / "mine"
    source.mkdir()
    (source / "regions.csv").write_text("region_id,name\nr-9,Far Away\n")
    (source / "counties.csv").write_text("county_id,region_id,name\nc-9,r-9,Outer\n")
    (source / "facilities.csv").write_text("facility_id,county_id,name\nf-9,c-9,Lighthouse\n")
    (source / "users.csv").write_text("user_id,name\nann,Ann\n")
    (source / "facility_users.csv").write_text("user_id,facility_id\nann,f-9\n")
    code, output = commands.run("load-directory", str(source))
    assert code == 0, output
    assert "1 facilities" in output

    assert commands.run("down")[0] == 0
    assert not any(is_alive(process) for process in processes)
    assert not (commands.directory / "stack.json").exists()
    assert commands.run("status")[0] == 1


def test_a_stack_whose_setting_is_refused_says_which(commands: Commands) -> None:
    code, output = commands.run("up", SESSION_TTL_SECONDS="soon")
    assert code == 1
    assert "not started: " in output
    assert "SESSION_TTL_SECONDS" in output
    assert not (commands.directory / "stack.json").exists()


def test_an_interrupt_ends_a_stack_in_the_foreground(commands: Commands) -> None:
    command = [sys.executable, "-m", "emulators.stack", "run", "--directory", str(commands.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("healthy after" in line for line in process.stdout)
        processes = [identify(pid) for pid in commands.stack()["processes"].values()]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not any(is_alive(each) for each in processes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One for the whole file, since a start takes seconds; each test leaves it healthy."""
    async with Stack(tmp_path_factory.mktemp("one")) as stack:
        yield stack


@pytest.mark.asyncio(loop_scope="module")
async def test_two_stacks_run_side_by_side_and_their_data_outlives_them(stack: Stack, tmp_path: Path) -> None:
    async with Stack(tmp_path / "two", hosts=2) as other:
        assert len({*other.addresses.hosts, *stack.addresses.hosts}) == 3
        for api in other.addresses.hosts:
            assert (await http_get(f"{api}/health"))[0] == 200
    reports: list[str] = []
    async with Stack(tmp_path / "two", report=reports.append) as again:
        assert (await http_get(f"{again.addresses.api}/health"))[0] == 200
    assert any(report.startswith("redis") for report in reports)
    assert not any(report.startswith("directory") for report in reports), "the directory was loaded a second time"


@pytest.mark.asyncio(loop_scope="module")
async def test_parts_are_killed_paused_and_started_again(stack: Stack) -> None:
    host, port = stack.addresses.redis.split(":")
    await stack.kill("redis")
    assert stack.pid("redis") is None
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(host, int(port))
    await stack.start("redis")
    await redis_answers(host, int(port))
    stack.pause("host-1")
    with pytest.raises(TimeoutError):
        await http_get(f"{stack.addresses.api}/config", timeout_seconds=0.3)
    stack.resume("host-1")
    await stack.wait_until_healthy()
    await stack.stop("web-pubsub")
    await stack.start("web-pubsub")
    await stack.wait_until_healthy()


async def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        with pytest.raises(PortTakenError, match=f"API_PORT: port {number} is already in use"):
            async with Stack(tmp_path, {"API_PORT": number}):
                pass


@pytest.mark.parametrize(("program", "error"), [("/no/such", ProgramMissingError), ("/bin/false", PartFailedError)])
async def test_a_redis_server_that_cannot_run_is_named(tmp_path: Path, program: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"REDIS_SERVER=/no/such|redis ended while it started"):
        async with Stack(tmp_path, {"REDIS_SERVER": program}):
            pass


@pytest.mark.asyncio(loop_scope="module")
async def test_a_redis_that_is_given_is_used_and_none_started(stack: Stack, tmp_path: Path) -> None:
    async with Stack(tmp_path / "other", {"Redis": stack.addresses.redis}) as other:
        assert other.addresses.redis == stack.addresses.redis
        assert "redis" not in other.plan.services
