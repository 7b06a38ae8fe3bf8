"""Authorization codes and refresh tokens: kept in memory, used once, and revoked as a family when used twice."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

type Clock = Callable[[], float]


class GrantError(Exception):
    """An OAuth 2.0 error (RFC 6749 section 5.2): `code` is its registered name, the text its description."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who signed in to what; everything that tokens are made of."""

    user_id: str
    roles: tuple[str, ...]
    client_id: str
    scope: str
    nonce: str | None
    auth_time: int
    family: str


@dataclass(frozen=True, slots=True)
class _Code:
    sign_in: SignIn
    redirect_uri: str
    challenge: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Refresh:
    sign_in: SignIn
    expires_at: float


class Grants:
    """Issues and redeems codes and refresh tokens; `clock` gives seconds since 1970."""

    def __init__(self, clock: Clock, *, code_seconds: float, refresh_seconds: float) -> None:
        self._clock = clock
        self._code_seconds = code_seconds
        self._refresh_seconds = refresh_seconds
        self._codes: dict[str, _Code] = {}
        self._refreshes: dict[str, _Refresh] = {}
        # Used codes and refresh tokens with the family and the time after which nobody could use them anyway.
        self._used: dict[str, tuple[str, float]] = {}

    def new_code(self, sign_in: SignIn, redirect_uri: str, challenge: str) -> str:
        """A code for this redirect URI and S256 code challenge."""
        self._purge()
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(sign_in, redirect_uri, challenge, self._clock() + self._code_seconds)
        return code

    def redeem_code(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> SignIn:
        """The sign-in behind a code.

        Raises GrantError `invalid_grant` when it is unknown, expired, used, or for another client, redirect URI or
        verifier; a code presented twice also revokes the refresh tokens it led to (RFC 6749 section 4.1.2).
        """
        self._refuse_used(code)
        grant = self._codes.pop(code, None)
        if grant is None:
            raise GrantError("invalid_grant", "The code is not known.")
        self._used[code] = (grant.sign_in.family, grant.expires_at + self._refresh_seconds)
        if grant.expires_at <= self._clock():
            raise GrantError("invalid_grant", "The code has expired.")
        if grant.sign_in.client_id != client_id:
            raise GrantError("invalid_grant", "The code was issued to another client.")
        if grant.redirect_uri != redirect_uri:
            raise GrantError("invalid_grant", "The redirect_uri is not the one the code was issued for.")
        if not hmac.compare_digest(s256(verifier), grant.challenge):
            raise GrantError("invalid_grant", "The code_verifier does not match the code_challenge.")
        return grant.sign_in

    def new_refresh_token(self, sign_in: SignIn) -> str:
        """A refresh token of the sign-in's family."""
        self._purge()
        token = secrets.token_urlsafe(32)
        self._refreshes[token] = _Refresh(sign_in, self._clock() + self._refresh_seconds)
        return token

    def redeem_refresh_token(self, token: str, client_id: str) -> SignIn:
        """The sign-in behind a refresh token, which is spent by this.

        Raises GrantError `invalid_grant` as for codes; a token presented twice revokes its whole family.
        """
        self._refuse_used(token)
        grant = self._refreshes.get(token)
        if grant is None or grant.expires_at <= self._clock():
            raise GrantError("invalid_grant", "The refresh token is not known or has expired.")
        if grant.sign_in.client_id != client_id:
            raise GrantError("invalid_grant", "The refresh token was issued to another client.")
        del self._refreshes[token]
        self._used[token] = (grant.sign_in.family, grant.expires_at)
        return grant.sign_in

    def _refuse_used(self, value: str) -> None:
        used = self._used.get(value)
        if used is None:
            return
        family = used[0]
        self._refreshes = {token: grant for token, grant in self._refreshes.items() if grant.sign_in.family != family}
        raise GrantError("invalid_grant", "It was used before; every token that came of it is revoked.")

    def _purge(self) -> None:
        now = self._clock()
        self._codes = {code: grant for code, grant in self._codes.items() if grant.expires_at > now}
        self._refreshes = {token: grant for token, grant in self._refreshes.items() if grant.expires_at > now}
        self._used = {value: used for value, used in self._used.items() if used[1] > now}


def s256(verifier: str) -> str:
    """The S256 code challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
