"""Runs a program that knows nothing of its starter, and takes it along when the starter dies.

`python guard.py -- PROGRAM [ARGUMENT…]`: the program is stopped (SIGTERM, then SIGKILL after 5 s) when stdin reaches
its end, on SIGTERM and on SIGINT; the guard ends with the program's exit code. The program's output goes to stderr.
On Linux the kernel also kills the program when the guard itself is killed.

Standard library only and no import of this package, so that it starts in milliseconds (`python -I -S guard.py`).
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # prctl(2)
STOP_SECONDS = 5.0


def die_with_parent(number: int) -> None:
    """Has the kernel send this process signal `number` when its parent dies; does nothing where that is not Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)


def guard(command: Sequence[str]) -> int:
    """Runs `command` until it ends or this process is told to stop; returns the exit code, 128 + n for signal n."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    guard_pid = os.getpid()

    def in_child() -> None:
        die_with_parent(signal.SIGKILL)
        if os.getppid() != guard_pid:  # it died before the line above took effect
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        child = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    stdin = sys.stdin.fileno()
    while child.poll() is None:
        readable, _, _ = select.select([reader, stdin], [], [])
        if reader in readable:
            stop = any(number in (signal.SIGTERM, signal.SIGINT) for number in os.read(reader, 4096))
        else:
            stop = not os.read(stdin, 4096)
        if stop:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def main(arguments: Sequence[str]) -> int:
    """Runs the program named after `--`."""
    if len(arguments) < 2 or arguments[0] != "--":
        print("usage: guard.py -- PROGRAM [ARGUMENT…]", file=sys.stderr)
        return 2
    die_with_parent(signal.SIGTERM)
    return guard(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
