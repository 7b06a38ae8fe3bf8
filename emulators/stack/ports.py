"""Ports for the parts of a stack: chosen free, and kept for their part while the stack lives."""

import random
import socket
import sys

HOST = "127.0.0.1"

# Below every system's range for outgoing connections (Linux 32768+, macOS 49152+), so that no client socket takes the
# port of a part that is just being restarted.
LOWEST, HIGHEST = 20_000, 31_999


class PortTakenError(Exception):
    """A port that was asked for is in use by another program."""


class Port:
    """A TCP port of 127.0.0.1, ours until `release()`."""

    def __init__(self, number: int, holder: socket.socket | None) -> None:
        self.number = number
        self._holder = holder

    def release(self) -> None:
        """Gives the port up; harmless when repeated."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None


def choose_port(wanted: int | None = None) -> Port:
    """The port `wanted`, or a free one; raises PortTakenError if somebody else uses it.

    On Linux a socket that is bound and never listens holds the port: a server may bind beside it (SO_REUSEADDR),
    while nobody is given the port by chance. Elsewhere that would keep the server out too, so the port is only checked.
    """
    candidates = [wanted] if wanted else random.SystemRandom().sample(range(LOWEST, HIGHEST + 1), 100)
    for number in candidates:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, number))
        except OSError:
            holder.close()
            continue
        if sys.platform == "linux":
            return Port(number, holder)
        holder.close()
        return Port(number, None)
    raise PortTakenError(f"port {wanted} is already in use" if wanted else f"no free port in {LOWEST}-{HIGHEST}")
