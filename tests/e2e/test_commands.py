"""What `make up` and `make down` run: data outlive a stop, processes do not."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emulators.stack.processes import identify, is_alive
from tests.e2e.front_ends import DEADLINE, FrontEnds, Listener

SETTINGS = {"SESSION_TTL_SECONDS": "3", "LEAVE_GRACE_SECONDS": "1", "MASS_SILENCE_HOLD_SECONDS": "0"}


async def run(*command: str) -> tuple[int | None, str]:
    """Returns exit code and output of a command of the stack."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emulators.stack", *command),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        env=os.environ | SETTINGS,
    )
    async with asyncio.timeout(2 * DEADLINE):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


class Commands:
    """A stack in a directory of its own, driven by commands alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def up(self) -> AsyncIterator[tuple[FrontEnds, Listener]]:
        """A stack with people in front of it; afterwards it is down, and no process of it is left."""
        code, output = await run("up", "--directory", str(self._directory))
        assert code == 0, output
        stack = json.loads((self._directory / "stack.json").read_text())
        processes = [identify(pid) for pid in (stack["pid"], *stack["processes"].values())]
        try:
            async with FrontEnds(stack["identity"], stack["hosts"]) as people:
                yield people, await people.listen()
        finally:
            assert (await run("down", "--directory", str(self._directory)))[0] == 0
        assert not any(is_alive(process) for process in processes)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "stack")


async def test_a_second_start_goes_on_where_the_first_stopped(commands: Commands) -> None:
    async with commands.up() as (people, feed):
        await people.beat("u-2")
        gone = await people.leave("u-2")
        await feed.change("f-2", "offline")
        started = await people.beat("u-1")
        silent = await people.beat("u-3")
        await feed.change("f-3", "online")

    async with commands.up() as (people, feed), _beating(people, "u-1"):
        # Heard within one TTL after the stop, so it never ended; the stop itself ended nobody.
        shown = await people.facility("f-1")
        assert (shown["status"], shown["since"], shown["version"]) == ("online", started["receivedAt"], 1)
        shown = await people.facility("f-2")
        assert (shown["status"], shown["since"], shown["version"]) == ("offline", gone["expiresAt"], 2)

        change = await feed.change("f-3", "offline")
        assert (change["version"], change["since"], change["reason"]) == (2, silent["expiresAt"], "expired")
        assert (await people.facility("f-1"))["version"] == 1
        await people.beat("u-4")
        assert (await feed.change("f-4", "online"))["version"] == 1


@asynccontextmanager
async def _beating(people: FrontEnds, user: str) -> AsyncIterator[None]:
    """Has somebody there twice a second."""

    async def beat() -> None:
        while True:
            await people.beat(user)
            await asyncio.sleep(0.5)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(beat())
        yield
        task.cancel()
