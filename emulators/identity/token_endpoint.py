"""`POST /token`: the standard grants as a form, and tokens for the asking as JSON."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from emulators.identity.grants import GrantError, Grants, SignIn
from emulators.identity.settings import Settings
from emulators.identity.tokens import TokenFactory

_DEFAULT_SCOPE = "openid profile"


class TokenEndpoint:
    """Exchanges codes and refresh tokens for tokens; makes access tokens for tests and tools."""

    def __init__(self, settings: Settings, grants: Grants, tokens: TokenFactory) -> None:
        self._settings = settings
        self._grants = grants
        self._tokens = tokens

    async def handle(self, request: web.Request) -> web.Response:
        """Decides by content type; errors are RFC 6749 section 5.2 with status 400."""
        try:
            if request.content_type == "application/json":
                answer = self._shortcut(await _json_object(request))
            else:
                answer = self._grant(await _form(request))
        except GrantError as error:
            problem = {"error": error.code, "error_description": str(error)}
            return web.json_response(problem, status=HTTPStatus.BAD_REQUEST, headers={"Cache-Control": "no-store"})
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def _grant(self, form: dict[str, str]) -> dict[str, Any]:
        match _required(form, "grant_type"):
            case "authorization_code":
                self._check_client(form)
                sign_in = self._grants.redeem_code(
                    _required(form, "code"),
                    _required(form, "client_id"),
                    _required(form, "redirect_uri"),
                    _required(form, "code_verifier"),
                )
            case "refresh_token":
                self._check_client(form)
                sign_in = self._grants.redeem_refresh_token(
                    _required(form, "refresh_token"), _required(form, "client_id")
                )
            case other:
                raise GrantError("unsupported_grant_type", f"The grant_type {other!r} is not supported.")
        return self._answer(sign_in)

    def _answer(self, sign_in: SignIn) -> dict[str, Any]:
        answer = {
            "access_token": self._tokens.access_token(sign_in.user_id, sign_in.roles, scope=sign_in.scope),
            "token_type": "Bearer",
            "expires_in": self._settings.access_token_seconds,
            "scope": sign_in.scope,
            "refresh_token": self._grants.new_refresh_token(sign_in),
        }
        if "openid" in sign_in.scope.split():
            answer["id_token"] = self._tokens.id_token(sign_in)
        return answer

    def _shortcut(self, body: dict[str, Any]) -> dict[str, Any]:
        user_id, roles = body.get("sub"), body.get("roles", [])
        seconds, audience = body.get("expiresIn"), body.get("aud")
        if not isinstance(user_id, str) or not user_id:
            raise GrantError("invalid_request", "'sub' must be a user id.")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise GrantError("invalid_request", "'roles' must be a list of strings.")
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int)):
            raise GrantError("invalid_request", "'expiresIn' must be a whole number of seconds.")
        if audience is not None and not isinstance(audience, str):
            raise GrantError("invalid_request", "'aud' must be a string.")
        return {
            "access_token": self._tokens.access_token(
                user_id, roles, scope=_DEFAULT_SCOPE, seconds=seconds, audience=audience
            ),
            "token_type": "Bearer",
            "expires_in": self._settings.access_token_seconds if seconds is None else seconds,
        }

    def _check_client(self, form: dict[str, str]) -> None:
        if _required(form, "client_id") != self._settings.client_id:
            raise GrantError("invalid_client", f"The client_id is not {self._settings.client_id!r}.")


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise GrantError("invalid_request", f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise GrantError("invalid_request", "The body is not a JSON object.")
    return body


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise GrantError("invalid_request", "The body must be application/x-www-form-urlencoded or application/json.")
    fields = await request.post()
    if len(fields) != len(set(fields)):
        raise GrantError("invalid_request", "A parameter is given more than once.")
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _required(form: dict[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise GrantError("invalid_request", f"The parameter {name!r} is missing.")
    return value
