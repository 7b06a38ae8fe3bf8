"""The emulator as an aiohttp application."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.web_pubsub.errors import ServiceError
from emulators.web_pubsub.hub import Hubs
from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.rest import RestApi
from emulators.web_pubsub.sockets import ClientEndpoint
from emulators.web_pubsub.tokens import Tokens


def create_app(access_key: str, limits: Limits | None = None) -> web.Application:
    """The whole service for one access key; every instance has its own hubs."""
    limits = limits or Limits()
    hubs, tokens = Hubs(), Tokens(access_key)
    rest, clients = RestApi(hubs, tokens), ClientEndpoint(hubs, tokens, limits)

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path.startswith("/api/hubs/") and request.match_info.http_exception is None:
                rest.authorize(request)
            return await handler(request)
        except ServiceError as error:
            return error.response()
        except web.HTTPRequestEntityTooLarge:
            text = f"A message has at most {limits.message_bytes} bytes."
            return ServiceError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", text).response()

    async def close_connections(_: web.Application) -> None:
        for hub in tuple(hubs.values()):
            await hub.shut_down()

    app = web.Application(middlewares=[errors], client_max_size=limits.message_bytes)
    app.add_routes(rest.routes())
    app.add_routes(
        [
            web.get("/client/hubs/{hub}", clients.connect, allow_head=False),
            web.get("/health", _healthy),
            web.head("/api/health", _healthy),
        ]
    )
    app.on_shutdown.append(close_connections)
    return app


async def _healthy(_: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})
