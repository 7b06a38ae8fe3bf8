"""The issuer as an aiohttp application."""

import asyncio
import time
from http import HTTPStatus

import jwt
from aiohttp import web
from aiohttp.typedefs import Handler

from emulators.identity.authorize import AuthorizationEndpoint
from emulators.identity.grants import Clock, Grants
from emulators.identity.keys import KeyRing
from emulators.identity.settings import Settings
from emulators.identity.token_endpoint import TokenEndpoint
from emulators.identity.tokens import TokenFactory

# What browser applications on other origins call; the pages are visited, not fetched.
_CORS_PATHS = frozenset({"/.well-known/openid-configuration", "/jwks.json", "/token", "/userinfo"})
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}


class Issuer:
    """Metadata, keys and user information."""

    def __init__(self, settings: Settings, keys: KeyRing) -> None:
        self._settings = settings
        self._keys = keys

    async def configuration(self, _: web.Request) -> web.Response:
        """`GET /.well-known/openid-configuration` (OpenID Connect Discovery section 3)."""
        issuer = self._settings.issuer
        return web.json_response(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "end_session_endpoint": f"{issuer}/logout",
                "jwks_uri": f"{issuer}/jwks.json",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "offline_access"],
                "claims_supported": ["sub", "name", "preferred_username", "roles", "iss", "aud", "iat", "exp", "nonce"],
                "prompt_values_supported": ["none", "login", "select_account"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def jwks(self, _: web.Request) -> web.Response:
        """`GET /jwks.json`."""
        return web.json_response(self._keys.jwks())

    async def rotate_keys(self, _: web.Request) -> web.Response:
        """`POST /rotate-keys`: a new signing key; the old ones stay published."""
        key = await asyncio.to_thread(self._keys.rotate)
        return web.json_response({"kid": key.key_id})

    async def user_info(self, request: web.Request) -> web.Response:
        """`GET /userinfo`: who the bearer is (OpenID Connect Core section 5.3)."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise jwt.InvalidTokenError("A bearer token is required.")  # noqa: TRY301 - answered like a bad one
            claims = self._keys.verify(token.strip(), self._settings.issuer)
        except jwt.InvalidTokenError as error:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            problem = {"error": "invalid_token", "error_description": str(error)}
            return web.json_response(problem, status=HTTPStatus.UNAUTHORIZED, headers=headers)
        known = {name: claims[name] for name in ("sub", "name", "roles") if name in claims}
        return web.json_response({**known, "preferred_username": claims["sub"]})


def create_app(settings: Settings, clock: Clock = time.time) -> web.Application:
    """The whole issuer.

    Raises OSError or ValueError when the keys in `settings.data_dir` cannot be read or written.
    """
    keys = KeyRing.open(settings.data_dir)
    grants = Grants(clock, code_seconds=settings.code_seconds, refresh_seconds=settings.refresh_token_seconds)
    issuer = Issuer(settings, keys)
    authorization = AuthorizationEndpoint(settings, grants, clock)
    token = TokenEndpoint(settings, grants, TokenFactory(settings, keys, clock))
    app = web.Application(middlewares=[_cors])
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", issuer.configuration),
            web.get("/jwks.json", issuer.jwks),
            web.get("/authorize", authorization.show),
            web.post("/authorize", authorization.choose),
            web.post("/token", token.handle),
            web.get("/userinfo", issuer.user_info),
            web.post("/userinfo", issuer.user_info),
            web.get("/logout", authorization.log_out),
            web.post("/rotate-keys", issuer.rotate_keys),
            web.get("/health", _healthy),
        ]
    )
    return app


@web.middleware
async def _cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path not in _CORS_PATHS:
        return await handler(request)
    if request.method == "OPTIONS":
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=_CORS_HEADERS)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_CORS_HEADERS)
        raise
    response.headers.update(_CORS_HEADERS)
    return response


async def _healthy(_: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})
