"""`python -m emulators.web_pubsub --port 0 --access-key KEY`: a local Azure Web PubSub in a process of its own."""

import argparse
import asyncio
import base64
import contextlib
import secrets
import socket
import sys
from functools import partial

from aiohttp import web

from emulators.process import announce_ready, configure_logging, serve_until_stopped
from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.server import create_app

_BACKLOG = 4096
_OPEN_FILES = 65536


def main() -> int:
    """Runs until stopped; the exit code is 1 when the address cannot be used."""
    options = _arguments()
    configure_logging()
    _raise_open_file_limit()
    try:
        listener = socket.create_server((options.host, options.port), backlog=_BACKLOG)
    except OSError as error:
        print(f"web_pubsub: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    asyncio.run(_run(options, listener))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulators.web_pubsub", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one (default)")
    parser.add_argument("--access-key", help="signs and checks all tokens; by default a new one, in the ready line")
    parser.add_argument(
        "--send-buffer-bytes",
        type=int,
        default=Limits().send_buffer_bytes,
        help="a client is cut off when more than this waits for it (default %(default)s)",
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when stdin is closed")
    return parser.parse_args()


def _raise_open_file_limit() -> None:
    """Every client holds a file; the default limit is often 1,024. Windows has neither limit nor module."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(options: argparse.Namespace, listener: socket.socket) -> None:
    access_key = options.access_key or base64.b64encode(secrets.token_bytes(32)).decode()
    app = create_app(access_key, Limits(send_buffer_bytes=options.send_buffer_bytes))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=_BACKLOG).start()
    port = listener.getsockname()[1]
    endpoint = f"http://{options.host}:{port}"
    connection_string = f"Endpoint={endpoint};AccessKey={access_key};Version=1.0;"
    ready = partial(announce_ready, port, endpoint=endpoint, connectionString=connection_string)
    await serve_until_stopped(runner.cleanup, ready, exit_with_parent=options.exit_with_parent)


if __name__ == "__main__":
    sys.exit(main())
