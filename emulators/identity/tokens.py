"""The claims of access and ID tokens."""

import uuid
from collections.abc import Sequence
from typing import Any

from emulators.identity.grants import Clock, SignIn
from emulators.identity.keys import KeyRing
from emulators.identity.settings import Settings


class TokenFactory:
    """Makes signed tokens; `clock` gives seconds since 1970."""

    def __init__(self, settings: Settings, keys: KeyRing, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock

    def access_token(
        self, user_id: str, roles: Sequence[str], *, scope: str, seconds: int | None = None, audience: str | None = None
    ) -> str:
        """An access token, valid for `seconds` (expired already when that is not positive)."""
        now = int(self._clock())
        claims = {
            **self._common(user_id, roles, now),
            "aud": self._settings.audience if audience is None else audience,
            "nbf": now,
            "exp": now + (self._settings.access_token_seconds if seconds is None else seconds),
            "jti": str(uuid.uuid4()),
            "scope": scope,
        }
        return self._keys.sign(claims)

    def id_token(self, sign_in: SignIn) -> str:
        """An ID token for the client (OpenID Connect Core section 2)."""
        now = int(self._clock())
        claims = {
            **self._common(sign_in.user_id, sign_in.roles, now),
            "aud": sign_in.client_id,
            "exp": now + self._settings.access_token_seconds,
            "auth_time": sign_in.auth_time,
            "preferred_username": sign_in.user_id,
        }
        if sign_in.nonce is not None:
            claims["nonce"] = sign_in.nonce
        return self._keys.sign(claims)

    def _common(self, user_id: str, roles: Sequence[str], now: int) -> dict[str, Any]:
        return {
            "iss": self._settings.issuer,
            "sub": user_id,
            "name": self._settings.user_name(user_id),
            "roles": list(roles),
            "iat": now,
        }
