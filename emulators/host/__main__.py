"""Runs a function app: `python -m emulators.host --app DIR`."""

import argparse
import asyncio
import importlib
import importlib.util
import logging
import os
import sqlite3
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from emulators.host.application import Application, HostOptions
from emulators.host.errors import StartupError
from emulators.host.host_config import HostConfig, load_host_config
from emulators.host.http_listener import bind
from emulators.host.keys import load_keys
from emulators.host.logs import configure_logs
from emulators.host.settings import load_settings
from emulators.host.storage import IN_MEMORY
from emulators.process import announce_ready, serve_until_stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulators.host",
        description="Runs an Azure function app (Python v2 model) on this machine with Microsoft's own worker."
        " Triggers: HTTP, Event Hubs, timer, Redis pub/sub. Settings come from the environment, then from"
        " local.settings.json; host.json is honoured as in Azure.",
    )
    parser.add_argument(
        "--app", type=Path, required=True, metavar="DIR", help="directory of function_app.py and host.json"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=7071, help="port to listen on, 0 for a free one (%(default)s)")
    parser.add_argument(
        "--storage",
        default=IN_MEMORY,
        metavar="FILE",
        help="SQLite file that the hosts of one app share: checkpoints, partition ownership, timer leases and"
        " statuses (default: private to this process, forgotten at its end)",
    )
    parser.add_argument("--instance-id", help="what WEBSITE_INSTANCE_ID tells the app (default: random)")
    parser.add_argument(
        "--function-key",
        action="append",
        default=[],
        metavar="KEY",
        help="a host key: opens functions of the level 'function', in x-functions-key or ?code= (may be repeated)",
    )
    parser.add_argument("--master-key", metavar="KEY", help="opens everything, /admin and the level 'admin' too")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help='JSON: {"masterKey":"…","functionKeys":{"default":"…"},"functions":{"NAME":{"default":"…"}}}',
    )
    parser.add_argument(
        "--partition-ownership-seconds",
        type=float,
        metavar="S",
        help="after which time a dead host's Event Hubs partitions are taken over (120, as in Azure)",
    )
    parser.add_argument(
        "--singleton-lease-seconds",
        type=float,
        metavar="S",
        help="a timer's lease (host.json singleton.listenerLockPeriod, 60)",
    )
    parser.add_argument(
        "--singleton-recovery-seconds",
        type=float,
        metavar="S",
        help="how often other hosts try to get it (host.json singleton.listenerLockRecoveryPollingInterval, 60)",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="how long a stop waits for invocations (%(default)s)",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when stdin is closed")
    return parser


def _configure(arguments: argparse.Namespace) -> HostConfig:
    config = load_host_config(arguments.app)
    singleton, hubs = config.singleton, config.event_hubs
    if arguments.singleton_lease_seconds is not None:
        singleton = replace(singleton, listener_lock_seconds=arguments.singleton_lease_seconds)
    if arguments.singleton_recovery_seconds is not None:
        singleton = replace(singleton, recovery_polling_seconds=arguments.singleton_recovery_seconds)
    if arguments.partition_ownership_seconds is not None:
        hubs = replace(hubs, partition_ownership_seconds=arguments.partition_ownership_seconds)
    return replace(config, singleton=singleton, event_hubs=hubs)


async def _run(arguments: argparse.Namespace, storage: str) -> None:
    keys = load_keys(arguments.keys, arguments.function_key, arguments.master_key)
    config = _configure(arguments)
    configure_logs(config.log_levels)
    instance_id = arguments.instance_id or uuid.uuid4().hex
    bound = bind(arguments.host, arguments.port)
    port = bound.getsockname()[1]
    settings = load_settings(
        arguments.app,
        {
            "WEBSITE_INSTANCE_ID": instance_id,
            "WEBSITE_HOSTNAME": f"{arguments.host}:{port}",
            "FUNCTIONS_WORKER_RUNTIME": "python",
        },
    )
    options = HostOptions(arguments.app, storage, instance_id, keys, arguments.drain_seconds)
    application = Application(options, config, settings)
    functions = application.load()
    await application.start(bound)
    ready = partial(announce_ready, port, functions=functions)
    await serve_until_stopped(application.stop, ready, exit_with_parent=arguments.exit_with_parent)
    if application.abandoned:
        # Python would wait for the threads of synchronous functions that do not end.
        logging.shutdown()
        os._exit(0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # uvloop is quicker where somebody has installed it; nothing depends on it.
    if importlib.util.find_spec("uvloop") is None:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)


def main() -> int:
    """Runs until it is told to stop; returns 1 with one line on stderr when it cannot start."""
    arguments = _parser().parse_args()
    # The app's directory becomes the working directory, so relative paths are settled before.
    arguments.app = arguments.app.resolve()
    storage = arguments.storage if arguments.storage == IN_MEMORY else str(Path(arguments.storage).resolve())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(arguments, storage))
    except (StartupError, sqlite3.Error) as error:
        print(f"functions host: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
