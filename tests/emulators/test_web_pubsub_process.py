"""The Web PubSub emulator as a process: ready line, signals, stdin, a taken port."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from tests.emulators.web_pubsub_harness import ACCESS_KEY, DEADLINE


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emulators.web_pubsub", "--access-key", ACCESS_KEY, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), DEADLINE))
    return line


async def exit_code(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), DEADLINE)


async def test_it_announces_where_it_listens_and_stops_on_sigterm() -> None:
    async with started("--port", "0") as process:
        ready = await ready_line(process)
        assert ready["event"] == "ready"
        assert ready["endpoint"] == f"http://127.0.0.1:{ready['port']}"
        async with WebPubSubServiceClient.from_connection_string(ready["connectionString"], hub="h") as service:
            await service.send_to_all("x", content_type="text/plain")
        process.send_signal(signal.SIGTERM)
        assert await exit_code(process) == 0


@pytest.mark.parametrize(("option", "stops"), [(["--exit-with-parent"], True), ([], False)])
async def test_it_ends_with_its_parent_when_asked_to(option: list[str], stops: bool) -> None:
    async with started("--port", "0", *option) as process:
        ready = await ready_line(process)
        assert process.stdin is not None
        process.stdin.close()
        if stops:
            assert await exit_code(process) == 0
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", ready["port"])
            writer.write(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"200" in await asyncio.wait_for(reader.readline(), DEADLINE)
            writer.close()


async def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started("--port", str(port)) as process:
            output, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert (process.returncode, output) == (1, b"")
    assert errors.decode().startswith(f"web_pubsub: cannot listen on 127.0.0.1:{port}: ")
    assert len(errors.splitlines()) == 1
