"""Who calls: verifies access tokens of the OpenID Connect issuer (RFC 9068, OpenID Connect Discovery 1.0)."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from shared.domain.heartbeat import USER_ID_PATTERN
from shared.issuer import IssuerKeys
from shared.problems import UnauthenticatedError
from shared.settings import AuthSettings

ADMIN_ROLE = "presence.admin"
GATEWAY_ROLE = "presence.gateway"

_CLOCK_SKEW_SECONDS = 30
_CACHED_TOKENS = 50_000
_LONGEST_TOKEN = 16_384


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified user and the roles of their token."""

    user_id: str
    roles: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether they may see and control everything."""
        return ADMIN_ROLE in self.roles

    @property
    def is_gateway(self) -> bool:
        """Whether they may send heartbeats for others."""
        return GATEWAY_ROLE in self.roles


class TokenVerifier:
    """Verifies tokens. Fetches the issuer's keys when first needed; nothing connects before."""

    def __init__(self, settings: AuthSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._keys = IssuerKeys(settings.issuer)
        # Keyed by a hash, so that no token stays in memory.
        self._verified: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._verified_with = self._keys.generation

    async def verify(self, token: str) -> Caller:
        """Returns who the token speaks for.

        Raises UnauthenticatedError, or DependencyUnavailableError("identity") while the key cannot be had.
        """
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and self._verified_with == self._keys.generation:
            caller, expires_at = known
            if expires_at > self._now():
                self._verified.move_to_end(digest)
                self._keys.refresh_if_old()
                return caller
            raise UnauthenticatedError("The access token has expired.")
        caller, expires_at = await self._verify(token)
        self._remember(digest, caller, expires_at)
        return caller

    async def close(self) -> None:
        """Closes the connection to the issuer."""
        await self._keys.close()

    async def _verify(self, token: str) -> tuple[Caller, float]:
        try:
            if len(token) > _LONGEST_TOKEN:
                raise jwt.DecodeError("too long")
            header = jwt.get_unverified_header(token)
            # The token names a key; the key, never the token, says which algorithms fit.
            key = await self._keys.find(header.get("kid"))
            if key is None:
                raise UnauthenticatedError("The access token is signed with a key that the issuer does not publish.")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=key.algorithms,
                audience=self._settings.audience,
                issuer=self._keys.issuer_name,
                # Times are checked below: an expired token gets no leeway, a clock that is ahead does.
                options={
                    "require": ["iss", "aud", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise UnauthenticatedError("The access token is meant for another audience.") from None
        except jwt.InvalidIssuerError:
            raise UnauthenticatedError("The access token comes from another issuer.") from None
        except jwt.MissingRequiredClaimError as error:
            raise UnauthenticatedError(f"The access token lacks the claim {error.claim}.") from None
        except jwt.PyJWTError:
            raise UnauthenticatedError("The access token is not valid.") from None
        return self._caller(claims), self._check_times(claims)

    def _check_times(self, claims: dict[str, Any]) -> float:
        now = self._now()
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in times.values()):
            raise UnauthenticatedError("The access token has a time that is not a number.")
        # Written so that NaN is refused too.
        if not times["exp"] > now:
            raise UnauthenticatedError("The access token has expired.")
        if not max(times.get("nbf", 0), times.get("iat", 0)) <= now + _CLOCK_SKEW_SECONDS:
            raise UnauthenticatedError("The access token is not valid yet.")
        return float(times["exp"])

    def _caller(self, claims: dict[str, Any]) -> Caller:
        user_id = claims.get(self._settings.user_claim)
        if not isinstance(user_id, str) or not USER_ID_PATTERN.fullmatch(user_id):
            raise UnauthenticatedError(f"The access token's claim {self._settings.user_claim} is not a user id.")
        roles = claims.get("roles")
        granted = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
        return Caller(user_id, frozenset(granted))

    def _remember(self, digest: bytes, caller: Caller, expires_at: float) -> None:
        # What was verified with keys that the issuer has withdrawn does not count any more.
        if self._verified_with != self._keys.generation:
            self._verified.clear()
            self._verified_with = self._keys.generation
        self._verified[digest] = caller, expires_at
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)
