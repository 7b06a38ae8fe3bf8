"""A real Redis Cluster of three nodes, without replicas, for tests."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from tests.redis_server import free_port, server_binary, wait_until_listening

SLOTS = 16_384
NODES = 3


@contextmanager
def running_cluster(directory: Path) -> Iterator[list[int]]:
    """Runs the nodes in `directory` for the duration of the block; gives their ports once all slots are served."""
    ports = [free_port() for _ in range(NODES)]
    # The bus listens 10,000 above unless told otherwise, which may not be a port at all.
    buses = [free_port() for _ in range(NODES)]
    processes = []
    try:
        for port, bus in zip(ports, buses, strict=True):
            folder = directory / str(port)
            folder.mkdir()
            options = {
                "port": port,
                "bind": "127.0.0.1",
                "save": "",
                "cluster-enabled": "yes",
                "cluster-port": bus,
                "cluster-node-timeout": 5_000,
            }
            arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            processes.append(subprocess.Popen([server_binary(), *arguments], cwd=folder, stdout=subprocess.DEVNULL))
        for port in ports:
            wait_until_listening(port)
        _join(ports, buses)
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def _join(ports: list[int], buses: list[int]) -> None:
    # Their types lack the commands of clusters.
    nodes: list[Any] = [Redis(port=port) for port in ports]
    share = SLOTS // NODES
    for index, node in enumerate(nodes):
        last = SLOTS - 1 if index == NODES - 1 else (index + 1) * share - 1
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", index * share, last)
        for port, bus in zip(ports[:index], buses, strict=False):
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
    give_up_at = time.monotonic() + 30
    while not all("cluster_state:ok" in _info(node) and _knows_all(node) for node in nodes):
        assert time.monotonic() < give_up_at, "the nodes do not find together"
        time.sleep(0.05)
    for node in nodes:
        node.close()


def _info(node: Any) -> str:
    return str(node.execute_command("CLUSTER", "INFO"))


def _knows_all(node: Any) -> bool:
    known = node.execute_command("CLUSTER", "SLOTS")
    return len(known) == NODES
