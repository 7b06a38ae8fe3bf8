"""What benchmarks measure with: a Redis-protocol server of their own, its processor time and memory, percentiles."""

import asyncio
import math
import os
import socket
import statistics
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from emulators.stack.redis_server import find_redis_server

_START_SECONDS = 10.0


@asynccontextmanager
async def redis_server(directory: Path, *options: str) -> AsyncIterator[Redis]:
    """Runs a server without persistence, announcing expired keys, for the duration of the block; gives a client."""
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [find_redis_server(os.environ), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--notify-keyspace-events", "Ex", *options]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    client = Redis(port=port)
    try:
        await _until_it_answers(client)
        yield client
    finally:
        await client.aclose()
        process.terminate()
        process.wait(30)


async def server_seconds(client: Redis) -> float:
    """Returns the processor time that the server has used so far: what other load on the machine cannot touch."""
    info = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def server_bytes(client: Redis) -> int:
    """Returns the memory that the server uses, but for the buffers of its clients."""
    info = await client.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"])


def process_seconds(pid: int) -> float:
    """Returns the processor time, user and system, that a process and its threads have used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float | None:
    """Returns the nearest-rank percentile, `share` in 0…1; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median, the least and the greatest."""
    return statistics.median(values), min(values), max(values)


async def _until_it_answers(client: Redis) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                await client.ping()
            except RedisConnectionError:
                await asyncio.sleep(0.02)
            else:
                return
