"""The three kinds of JWT that the service checks or issues, all HS256 with the access key."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import jwt

_RECOVERY_AUDIENCE = "reconnection"
_RECOVERY_SECONDS = 7 * 24 * 3600


class InvalidTokenError(Exception):
    """The token is missing, malformed, forged, expired or for something else; the text says which."""


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who connects, as the client access token says."""

    user_id: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]


class Tokens:
    """Checks and issues tokens for one access key."""

    def __init__(self, access_key: str) -> None:
        self._key = access_key

    def verify_request(self, token: str | None, url: str) -> None:
        """Checks the bearer token of a REST call: its audience is the URL that was called, query or not."""
        audience = _audience(self._decode(token))
        if _comparable(audience) != _comparable(url):
            raise InvalidTokenError(f"The token's audience is {audience!r}, the request's URL is {url!r}.")

    def verify_client(self, token: str | None, url: str) -> ClientIdentity:
        """Reads a client access token; `url` is the hub's client URL without query."""
        claims = self._decode(token)
        audience = _audience(claims)
        if _comparable(audience) != _comparable(url):
            raise InvalidTokenError(f"The token's audience is {audience!r}, this hub's client URL is {url!r}.")
        user_id = claims.get("sub")
        return ClientIdentity(
            user_id=user_id if isinstance(user_id, str) else None,
            roles=_strings(claims.get("role")),
            groups=_strings(claims.get("webpubsub.group")),
        )

    def issue_client(
        self, url: str, *, user_id: str | None, roles: Sequence[str], groups: Sequence[str], minutes: int
    ) -> str:
        """A client access token as `:generateToken` answers it."""
        now = int(time.time())
        claims: dict[str, object] = {"aud": url, "iat": now, "exp": now + 60 * minutes}
        if user_id is not None:
            claims["sub"] = user_id
        if roles:
            claims["role"] = list(roles)
        if groups:
            claims["webpubsub.group"] = list(groups)
        return jwt.encode(claims, self._key, algorithm="HS256")

    def issue_reconnection(self, hub: str, connection_id: str) -> str:
        """A token that can only recover this connection, valid for a week (client-spec.md section 2.2)."""
        claims = {"aud": _RECOVERY_AUDIENCE, "exp": int(time.time()) + _RECOVERY_SECONDS, "hub": hub}
        return jwt.encode({**claims, "connectionId": connection_id}, self._key, algorithm="HS256")

    def verify_reconnection(self, token: str, hub: str, connection_id: str) -> None:
        """Checks a token of `issue_reconnection`."""
        claims = self._decode(token)
        if (claims["aud"], claims.get("hub"), claims.get("connectionId")) != (_RECOVERY_AUDIENCE, hub, connection_id):
            raise InvalidTokenError("The reconnection token belongs to another connection.")

    def _decode(self, token: str | None) -> dict[str, object]:
        if not token:
            raise InvalidTokenError("A token is required.")
        try:
            # The audience is compared by the callers, who know how much of a URL counts.
            options: jwt.types.Options = {"require": ["aud", "exp"], "verify_aud": False, "verify_iat": False}
            return jwt.decode(token, self._key, algorithms=["HS256"], options=options)
        except jwt.InvalidTokenError as error:
            raise InvalidTokenError(f"The token is not valid: {error}.") from error


def _audience(claims: dict[str, object]) -> str:
    audience = claims["aud"]
    if not isinstance(audience, str):
        raise InvalidTokenError("The token's audience is not one URL.")
    return audience


def _comparable(url: str) -> tuple[str, str]:
    """Host in lower case and path without escapes: how URLs are written differs between HTTP clients."""
    parts = urlsplit(url)
    return parts.netloc.lower(), unquote(parts.path)


def _strings(claim: object) -> tuple[str, ...]:
    """A claim that is absent, one string or several."""
    if isinstance(claim, str):
        return (claim,)
    return tuple(item for item in claim if isinstance(item, str)) if isinstance(claim, list) else ()
