"""On what machine and with which versions something was measured."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from emulators.stack.redis_server import find_redis_server

_PACKAGES = ("redis", "hiredis", "msgpack", "azure-eventhub", "azure-functions-runtime", "aiohttp", "uvloop")


def machine() -> dict[str, str | int]:
    """Returns the processor, its count, memory, operating system and how busy others keep it (load average)."""
    return {
        "processor": _processor(),
        "processors": os.process_cpu_count() or 1,
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "loadAverage": f"{os.getloadavg()[0]:.1f}",
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python, the Redis-protocol server and the packages that matter here."""
    found = {"Python": platform.python_version(), "server": server_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def server_version() -> str:
    """Returns e.g. `Valkey server v=8.1.4`."""
    program = find_redis_server(os.environ)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.partition(" sha=")[0].strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
