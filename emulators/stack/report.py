"""Where a supervisor tells what happens: its terminal or log, and besides whoever waits for it to start."""

import asyncio
import contextlib
import os
import signal
import sys
from datetime import datetime


class Report:
    """Called with one text per event. `waiting` is our end of a pipe to the process that waits for the start."""

    def __init__(self, waiting: int | None) -> None:
        self._is_background = waiting is not None
        self._waiting = waiting
        self._simulator: asyncio.StreamWriter | None = None

    def __call__(self, text: str) -> None:
        """Tells one event."""
        if self._simulator is not None:
            self._simulator.write(f"{text}\n".encode())
            return
        when = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} " if self._is_background else ""
        with contextlib.suppress(BrokenPipeError):  # nobody reads any more; that does not stop a stack
            print(f"{when}{text}", file=sys.stdout, flush=True)
        if self._waiting is not None:
            try:
                os.write(self._waiting, f"{text}\n".encode())
            except BrokenPipeError:
                self.started()
                os.kill(os.getpid(), signal.SIGTERM)  # who asked for this stack has died before it had one

    def started(self) -> None:
        """Lets the waiting process go."""
        if self._waiting is not None:
            os.close(self._waiting)
            self._waiting = None

    def redirect(self, simulator: asyncio.StreamWriter | None) -> None:
        """Sends what follows to the simulator that owns the terminal now, or to the terminal again."""
        self._simulator = simulator
