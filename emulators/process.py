"""What every emulator process shares: its ready line, its signals, and its end when its parent dies."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable


def configure_logging(level: int = logging.INFO) -> None:
    """Sends logs to stderr; stdout is kept for the ready line."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def announce_ready(port: int, **details: object) -> None:
    """Prints the one JSON line by which a starter learns that this process listens, and where."""
    print(json.dumps({"event": "ready", "port": port, **details}), flush=True)


async def serve_until_stopped(
    stop: Callable[[], Awaitable[None]], ready: Callable[[], None], *, exit_with_parent: bool
) -> None:
    """Returns after SIGTERM, SIGINT or, with `exit_with_parent`, the end of stdin, having awaited `stop()`.

    Calls `ready` once it listens to these: a starter may send one as soon as it reads the ready line.
    A starter holds the other end of stdin; when it dies, however it dies, the pipe closes.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    stdin = sys.stdin.fileno() if exit_with_parent else None

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    if stdin is not None:
        loop.add_reader(stdin, on_stdin)
    try:
        ready()
        await stopped.wait()
    finally:
        if stdin is not None:
            loop.remove_reader(stdin)
        await stop()
