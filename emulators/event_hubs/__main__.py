"""Runs the emulator: `python -m emulators.event_hubs --help`."""

import argparse
import asyncio
import math
import sys
from functools import partial
from pathlib import Path

from emulators.process import announce_ready, configure_logging, serve_until_stopped

from .broker import Broker
from .hubs import DEFAULT_GROUP, DataDirectoryError, HubSettings
from .sas import SharedKey


def _whole(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
    return int(text)


def _partitions(text: str) -> int:
    return _whole(text, 1, 1024)


def _port(text: str) -> int:
    return _whole(text, 0, 65_535)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 on")
    return seconds


def _name(text: str) -> str:
    if not text or not all(part.isalnum() or part in "-_.$" for part in text) or text in (".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits, '-', '_' and '.'")
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.event_hubs",
        description="An Event Hubs namespace on this machine, for clients that set UseDevelopmentEmulator=true.\n"
        "Prints one JSON line with the port when it listens.",
        epilog="connection string:\n  Endpoint=sb://HOST:PORT;SharedAccessKeyName=NAME;SharedAccessKey=KEY;"
        "UseDevelopmentEmulator=true;",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=_port, default=5672, help="port to listen on; 0 takes a free one (%(default)s)")
    add("--hub", type=_name, action="append", required=True, metavar="NAME", help="an event hub; may be repeated")
    add("--partitions", type=_partitions, default=4, metavar="N", help="partitions of each hub (%(default)s)")
    add(
        "--consumer-group",
        type=_name,
        action="append",
        default=[],
        metavar="NAME",
        help=f"a consumer group of each hub besides {DEFAULT_GROUP}; may be repeated",
    )
    add("--key-name", default="RootManageSharedAccessKey", metavar="NAME", help="name of the access key (%(default)s)")
    add("--key", default="SAS_KEY_VALUE", help="the shared access key (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help="where events are kept over restarts; without it, in memory only")
    add("--retention-seconds", type=_seconds, default=3600.0, metavar="S", help="how long events are kept (3600)")
    add("--exit-with-parent", action="store_true", help="stop when stdin reaches its end")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    settings = HubSettings(
        partitions=arguments.partitions,
        groups=tuple(arguments.consumer_group),
        retention_ms=int(arguments.retention_seconds * 1000),
        data_dir=arguments.data_dir,
    )
    broker = Broker(arguments.hub, settings, SharedKey(arguments.key_name, arguments.key))
    port = await broker.start(arguments.host, arguments.port)
    await serve_until_stopped(broker.stop, partial(announce_ready, port), exit_with_parent=arguments.exit_with_parent)


def main() -> int:
    """Serves until told to stop; returns the process's exit code."""
    configure_logging()
    arguments = _arguments()
    try:
        asyncio.run(_serve(arguments))
    except (OSError, DataDirectoryError) as error:
        print(f"event hubs emulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
