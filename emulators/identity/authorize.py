"""The pages' endpoints: authorization (RFC 6749 section 4.1, PKCE by RFC 7636) and logout."""

import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from emulators.identity.grants import Clock, Grants, SignIn
from emulators.identity.pages import notice_page, sign_in_page
from emulators.identity.settings import ADMIN_ROLE, Settings

_USER_ID = re.compile(r"[A-Za-z0-9._@:|+=-]{1,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
_PARAMETERS = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
)


type _Parameters = Mapping[str, str]


class AuthorizationEndpoint:
    """Shows the sign-in page and returns codes; signs out."""

    def __init__(self, settings: Settings, grants: Grants, clock: Clock) -> None:
        self._settings = settings
        self._grants = grants
        self._clock = clock

    async def show(self, request: web.Request) -> web.Response:
        """`GET /authorize`: the sign-in page, or why there is none."""
        query = request.query
        refusal = self._refusal(query)
        if refusal is not None:
            return refusal
        return sign_in_page(self._settings.users, _hidden(query), user_id=query.get("login_hint", ""))

    async def choose(self, request: web.Request) -> web.Response:
        """`POST /authorize`: the user's choice; the code goes to the client by redirect."""
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        refusal = self._refusal(form)
        if refusal is not None:
            return refusal
        user_id = form.get("user") or form.get("user_id", "").strip()
        admin = "admin" in form
        if not _USER_ID.fullmatch(user_id):
            error = "Enter a user id: up to 128 letters, digits and . _ @ : | + = -"
            return sign_in_page(self._settings.users, _hidden(form), user_id=user_id, admin=admin, error=error)
        sign_in = SignIn(
            user_id=user_id,
            roles=(ADMIN_ROLE,) if admin else (),
            client_id=form["client_id"],
            scope=form.get("scope", "openid"),
            nonce=form.get("nonce"),
            auth_time=int(self._clock()),
            family=uuid.uuid4().hex,
        )
        code = self._grants.new_code(sign_in, form["redirect_uri"], form["code_challenge"])
        return self._redirect(form, {"code": code})

    async def log_out(self, request: web.Request) -> web.Response:
        """`GET /logout` (OpenID Connect RP-Initiated Logout): no session to end, only the way back."""
        target = request.query.get("post_logout_redirect_uri")
        if target is None:
            return notice_page("You are signed out", "You can close this page.")
        if not self._is_redirect_uri(target):
            text = "The post_logout_redirect_uri is not registered."
            return notice_page("This sign-out request is not valid", text, status=HTTPStatus.BAD_REQUEST)
        state = {"state": request.query["state"]} if "state" in request.query else {}
        return _see_other(target, state)

    def _refusal(self, parameters: _Parameters) -> web.Response | None:
        """The answer to a request that is not valid: a page, until the redirect URI is known to be the client's."""
        problem = None
        if parameters.get("client_id") != self._settings.client_id:
            problem = f"The client_id is not {self._settings.client_id!r}."
        elif not self._is_redirect_uri(parameters.get("redirect_uri") or ""):
            problem = "The redirect_uri must be a loopback address or one given with --redirect-uri."
        if problem is not None:
            return notice_page("This sign-in request is not valid", problem, status=HTTPStatus.BAD_REQUEST)
        error = _error(parameters)
        if error is None:
            return None
        return self._redirect(parameters, {"error": error[0], "error_description": error[1]})

    def _is_redirect_uri(self, uri: str) -> bool:
        """A registered URI, or a loopback one with any port (RFC 8252 section 7.3)."""
        if uri in self._settings.redirect_uris:
            return True
        try:
            parts = urlsplit(uri)
            return parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK_HOSTS and not parts.fragment
        except ValueError:
            return False

    def _redirect(self, parameters: _Parameters, answer: dict[str, str]) -> web.Response:
        if "state" in parameters:
            answer["state"] = parameters["state"]
        # `iss` lets the client see who answers (RFC 9207).
        return _see_other(parameters["redirect_uri"], {**answer, "iss": self._settings.issuer})


def _error(parameters: _Parameters) -> tuple[str, str] | None:
    """The error code and description (RFC 6749 section 4.1.2.1) of a request by a known client."""
    if parameters.get("response_type") != "code":
        return "unsupported_response_type", "The response_type must be code."
    if parameters.get("response_mode", "query") != "query":
        return "invalid_request", "The response_mode must be query."
    challenge = parameters.get("code_challenge", "")
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        return "invalid_request", "PKCE is required: a code_challenge with code_challenge_method S256."
    if parameters.get("prompt") == "none":
        return "login_required", "The issuer keeps no session; the user has to choose."
    return None


def _hidden(parameters: _Parameters) -> dict[str, str]:
    return {name: parameters[name] for name in _PARAMETERS if name in parameters}


def _see_other(uri: str, parameters: dict[str, str]) -> web.Response:
    parts = urlsplit(uri)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    location = urlunsplit(parts._replace(query=query))
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location, "Cache-Control": "no-store"})
