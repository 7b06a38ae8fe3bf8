"""The signing keys of an OpenID Connect issuer, found by discovery and kept by key id."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from shared.connections import parse_http_url
from shared.errors import DependencyUnavailableError, SettingError

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""What each kind of public key may verify (RFC 7518). No symmetric algorithm: a public key is no secret."""

_FRESH_SECONDS = 300.0
# An unknown key id asks the issuer at most this often, whoever invents the ids.
_PAUSE_SECONDS = 5.0
_PAUSE_WITHOUT_KEYS_SECONDS = 0.5
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_LONGEST_DOCUMENT = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key and the algorithms that it may be used with."""

    key: Any
    algorithms: tuple[str, ...]


class IssuerKeys:
    """Fetches the keys when first needed, when a new key id turns up, and every five minutes while in use.

    When the issuer cannot be reached, the keys known so far stay in use.
    """

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str | None, IssuerKey] = {}
        self._key_set: dict[str, Any] = {}
        self._session: aiohttp.ClientSession | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._attempted_at = -float("inf")
        self._failure = ""
        self.issuer_name = issuer
        """The issuer as it writes itself, which is what the tokens' `iss` must be."""
        self.generation = 0
        """Rises whenever the set of keys changes."""

    async def find(self, key_id: str | None) -> IssuerKey | None:
        """Returns the key of that id, or None if the issuer has no such key; a single key needs no id.

        Raises DependencyUnavailableError("identity") if the key is not known and the issuer cannot be asked.
        """
        self.refresh_if_old()
        if key_id not in self._keys:
            pause = _PAUSE_SECONDS if self._keys else _PAUSE_WITHOUT_KEYS_SECONDS
            if self._fetching is not None or self._clock() - self._attempted_at >= pause:
                await asyncio.shield(self._fetch())
        key = self._keys.get(key_id)
        if key is None and self._failure:
            raise DependencyUnavailableError("identity", self._failure)
        return key

    def refresh_if_old(self) -> None:
        """Starts to fetch the keys again in the background if they are old; a key that was withdrawn then goes."""
        if self._keys and self._clock() - self._attempted_at >= _FRESH_SECONDS:
            self._fetch()

    async def close(self) -> None:
        """Ends the connection."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _fetch(self) -> "asyncio.Task[None]":
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_now())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: "asyncio.Task[None]") -> None:
        self._fetching = None

    async def _fetch_now(self) -> None:
        self._attempted_at = self._clock()
        try:
            metadata = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            name = self._own_name(metadata)
            key_set = await self._get(parse_http_url("jwks_uri", str(metadata.get("jwks_uri"))))
            keys = _usable(key_set.get("keys"))
        except (aiohttp.ClientError, TimeoutError, ValueError, SettingError) as error:
            self._failure = f"keys of {self._issuer} not fetched: {error or type(error).__name__}"
            _log.warning(self._failure)
            return
        self._failure = ""
        self.issuer_name = name
        if key_set != self._key_set:
            self._key_set, self._keys = key_set, keys
            self.generation += 1

    def _own_name(self, metadata: dict[str, Any]) -> str:
        name = metadata.get("issuer")
        if not isinstance(name, str) or name.rstrip("/") != self._issuer.rstrip("/"):
            raise ValueError("it calls itself by another name than AUTH_ISSUER")
        return name

    async def _get(self, url: str) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        # A redirect could lead from https to http, or to somebody else's keys.
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{url} answers {response.status}")
            if (response.content_length or 0) > _LONGEST_DOCUMENT:
                raise ValueError(f"{url} is too long")
            document = await response.json(content_type=None)
        if not isinstance(document, dict):
            raise ValueError(f"{url} is not a JSON object")  # noqa: TRY004 - of the issuer's making
        return document


def _usable(documents: Any) -> dict[str | None, IssuerKey]:
    """Returns the public signature keys of a JSON Web Key Set (RFC 7517) by id; others in the set are passed over."""
    if not isinstance(documents, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 - of the issuer's making
    keys: dict[str | None, IssuerKey] = {}
    for document in documents:
        if not isinstance(document, dict) or document.get("use", "sig") != "sig":
            continue
        fitting = _ALGORITHMS.get((str(document.get("kty")), str(document.get("crv", ""))), ())
        algorithms = tuple(name for name in fitting if document.get("alg", name) == name)
        key_id = document.get("kid")
        if not algorithms or not isinstance(key_id, str | None):
            continue
        try:
            keys[key_id] = IssuerKey(jwt.PyJWK(document, algorithm=algorithms[0]).key, algorithms)
        except jwt.PyJWTError as error:
            _log.warning("key %s of the issuer passed over: %s", key_id, error)
    if len(keys) == 1:
        keys.setdefault(None, next(iter(keys.values())))
    return keys
