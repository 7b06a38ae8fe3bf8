"""The HTTP side of the host: routing, keys, limits, CORS and the admin endpoints."""

import asyncio
import logging
import os
import socket
import time
from dataclasses import dataclass

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from emulators.host.errors import StartupError
from emulators.host.host_config import UNBOUNDED, HttpOptions
from emulators.host.http_messages import query_of, request_datum, response_of
from emulators.host.keys import AccessKeys
from emulators.host.router import Router, build_route
from emulators.host.settings import Cors, Settings
from emulators.host.worker import Function, Worker

_LOG = logging.getLogger(__name__)
_DEFAULT_BODY_LIMIT = 104_857_600


@dataclass(frozen=True, slots=True)
class _Target:
    function: Function
    level: str


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet; raises StartupError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return bound


class HttpListener:
    """Serves the HTTP functions of one application."""

    def __init__(
        self, functions: list[Function], worker: Worker, settings: Settings, options: HttpOptions, keys: AccessKeys
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._keys = keys
        self._cors = settings.cors
        self._body_limit = int(settings.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") or _DEFAULT_BODY_LIMIT)
        self._most_outstanding = options.max_outstanding_requests
        self._outstanding = 0
        self._slots = (
            asyncio.Semaphore(options.max_concurrent_requests) if options.max_concurrent_requests != UNBOUNDED else None
        )
        self._router = Router(
            build_route(
                function.name,
                options.route_prefix,
                function.trigger.get("route"),
                function.trigger.get("methods") or (),
                _Target(function, str(function.trigger.get("authLevel") or "function").lower()),
            )
            for function in functions
        )
        self._started = time.monotonic()
        self._server: web.Server | None = None
        self._listening: asyncio.Server | None = None
        self._draining = False

    async def start(self, bound: socket.socket) -> None:
        """Begins to accept connections; raises StartupError when another process listens there already."""
        self._server = web.Server(self._handle, request_factory=self._request, access_log=None)
        try:
            self._listening = await asyncio.get_running_loop().create_server(self._server, sock=bound, backlog=1024)
        except OSError as error:
            address, port = bound.getsockname()[:2]
            raise StartupError(f"cannot listen on {address}:{port}: {error.strerror or error}") from error

    def stop_accepting(self) -> None:
        """Refuses what is new; what runs may end."""
        self._draining = True
        if self._listening is not None:
            self._listening.close()

    async def close(self) -> None:
        """Closes the remaining connections."""
        if self._server is not None:
            await self._server.shutdown(0.5)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=self._body_limit
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._cors is None or "Origin" not in request.headers:
            return await self._dispatch(request)
        return await self._dispatch_for_origin(request, self._cors)

    async def _dispatch_for_origin(self, request: web.BaseRequest, cors: Cors) -> web.StreamResponse:
        origin = request.headers["Origin"]
        asked = request.headers.get("Access-Control-Request-Method")
        preflight = request.method == "OPTIONS" and asked is not None
        response = web.Response(status=204) if preflight else await self._dispatch(request)
        if cors.allows(origin):
            any_origin = "*" in cors.origins and not cors.credentials
            response.headers["Access-Control-Allow-Origin"] = "*" if any_origin else origin
            response.headers.add("Vary", "Origin")
            if cors.credentials:
                response.headers["Access-Control-Allow-Credentials"] = "true"
            if preflight:
                response.headers["Access-Control-Allow-Methods"] = asked or ""
                wanted = request.headers.get("Access-Control-Request-Headers")
                if wanted:
                    response.headers["Access-Control-Allow-Headers"] = wanted
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._draining:
            response = web.Response(status=503)
            response.force_close()
            return response
        target = request.raw_path
        path = target.partition("?")[0]
        if path.startswith("/admin/"):
            return self._admin(request, path)
        match = self._router.find(request.method, path)
        if match is None:
            return web.Response(
                status=200 if path == "/" else 404, text="The host is running." if path == "/" else None
            )
        if not isinstance(match.target, _Target):
            return web.Response(status=405, headers={"Allow": match.allow or ""})
        if self._most_outstanding not in (UNBOUNDED, 0) and self._outstanding >= self._most_outstanding:
            return web.Response(status=429)
        if match.target.level != "anonymous" and not self._admitted(request, match.target):
            return web.Response(status=401)
        self._outstanding += 1
        try:
            if self._slots is None:
                return await self._invoke(request, match.target.function, match.parameters)
            async with self._slots:
                return await self._invoke(request, match.target.function, match.parameters)
        finally:
            self._outstanding -= 1

    async def _invoke(
        self, request: web.BaseRequest, function: Function, parameters: dict[str, str]
    ) -> web.StreamResponse:
        try:
            body = await request.read() if request.body_exists else b""
        except web.HTTPRequestEntityTooLarge:
            response = web.Response(status=413)
            response.force_close()
            return response
        outcome = await self._worker.invoke(function, request_datum(request, parameters, body), {})
        return response_of(outcome.value) if outcome.ok else web.Response(status=500)

    def _admitted(self, request: web.BaseRequest, target: _Target) -> bool:
        return self._keys.admits(target.level, target.function.name, _given_key(request))

    def _admin(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path == "/admin/host/ping" and request.method in {"GET", "POST"}:
            return web.Response()
        if path != "/admin/host/status" or request.method != "GET":
            return web.Response(status=404)
        # Like `func start`, a host that was given no master key answers everybody.
        if self._keys.master is not None and not self._keys.admits("admin", "", _given_key(request)):
            return web.Response(status=401)
        return web.json_response(
            {
                "id": self._settings.get("WEBSITE_INSTANCE_ID"),
                "state": "Running",
                "processId": os.getpid(),
                "processUptime": int((time.monotonic() - self._started) * 1000),
                "functionCount": len(self._worker.functions),
            }
        )


def _given_key(request: web.BaseRequest) -> str | None:
    return request.headers.get("x-functions-key") or query_of(request.raw_path).get("code")
