"""`python -m emulators.identity --port 0`: an OpenID Connect issuer in a process of its own."""

import argparse
import asyncio
import dataclasses
import socket
import sys
from functools import partial
from pathlib import Path

from aiohttp import web

from emulators.identity.server import create_app
from emulators.identity.settings import Settings, read_users
from emulators.process import announce_ready, configure_logging, serve_until_stopped


def main() -> int:
    """Runs until stopped; the exit code is 1 when the address or a file cannot be used."""
    options = _arguments()
    configure_logging()
    try:
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        print(f"identity: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    with listener:
        issuer = (options.issuer or f"http://{options.host}:{listener.getsockname()[1]}").rstrip("/")
        try:
            app = create_app(_settings(options, issuer))
        except (OSError, ValueError) as error:
            print(f"identity: {error}", file=sys.stderr)
            return 1
        asyncio.run(_run(app, listener, issuer, exit_with_parent=options.exit_with_parent))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulators.identity", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one (default)")
    parser.add_argument("--issuer", help="the issuer's URL (default http://HOST:PORT)")
    parser.add_argument("--audience", default="facility-pulse", help="`aud` of access tokens (default %(default)s)")
    parser.add_argument("--client-id", default="facility-pulse-web", help="the public client (default %(default)s)")
    parser.add_argument(
        "--redirect-uri",
        action="append",
        default=[],
        help="an address to return to, besides every loopback address; can be repeated",
    )
    parser.add_argument("--users", type=Path, help="CSV file with the columns user_id,name (default u-1 to u-8)")
    parser.add_argument("--data-dir", type=Path, help="keeps the signing keys, so that tokens survive a restart")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when stdin is closed")
    return parser.parse_args()


def _settings(options: argparse.Namespace, issuer: str) -> Settings:
    settings = Settings(
        issuer=issuer,
        audience=options.audience,
        client_id=options.client_id,
        redirect_uris=tuple(options.redirect_uri),
        data_dir=options.data_dir,
    )
    return settings if options.users is None else dataclasses.replace(settings, users=read_users(options.users))


async def _run(app: web.Application, listener: socket.socket, issuer: str, *, exit_with_parent: bool) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    ready = partial(announce_ready, listener.getsockname()[1], issuer=issuer)
    await serve_until_stopped(runner.cleanup, ready, exit_with_parent=exit_with_parent)


if __name__ == "__main__":
    sys.exit(main())
