"""The RSA keys: the newest signs, all are published, and a data directory keeps them across restarts."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

_FILE: Final = "signing-keys.json"
_BITS: Final = 2048
_EXPONENT: Final = 65537


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the id under which its public half is published."""

    key_id: str
    private: RSAPrivateKey

    def jwk(self) -> dict[str, Any]:
        """The public half (RFC 7517)."""
        return {**_public_jwk(self.private), "kid": self.key_id, "use": "sig", "alg": "RS256"}


class KeyRing:
    """All keys of the issuer, oldest first."""

    def __init__(self, keys: list[SigningKey], path: Path | None) -> None:
        self._keys = keys
        self._path = path

    @classmethod
    def open(cls, data_dir: Path | None) -> "KeyRing":
        """The keys kept in `data_dir`, or a first one.

        Raises OSError or ValueError when the directory or its key file cannot be used.
        """
        path = None if data_dir is None else data_dir / _FILE
        ring = cls(_load(path) if path is not None and path.exists() else [], path)
        if not ring._keys:
            ring.rotate()
        return ring

    def rotate(self) -> SigningKey:
        """Makes a new signing key; tokens signed by the old ones stay valid."""
        key = _signing_key(generate_private_key(_EXPONENT, _BITS))
        self._keys.append(key)
        if self._path is not None:
            _save(self._keys, self._path)
        return key

    def jwks(self) -> dict[str, Any]:
        """The JSON Web Key Set."""
        return {"keys": [key.jwk() for key in self._keys]}

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT signed with the newest key (RS256)."""
        key = self._keys[-1]
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.key_id})

    def verify(self, token: str, issuer: str) -> dict[str, Any]:
        """The claims of a token of this issuer, for whatever audience.

        Raises jwt.InvalidTokenError when it is not signed by one of the keys, or not valid now.
        """
        key_id = jwt.get_unverified_header(token).get("kid")
        for key in self._keys:
            if key.key_id == key_id:
                public, options = key.private.public_key(), {"verify_aud": False, "require": ["exp", "sub"]}
                return jwt.decode(token, public, algorithms=["RS256"], issuer=issuer, options=options)  # type: ignore[arg-type]
        raise jwt.InvalidTokenError(f"No key has the id {key_id!r}.")


def _signing_key(private: RSAPrivateKey) -> SigningKey:
    """Names the key by its thumbprint (RFC 7638)."""
    public = _public_jwk(private)
    members = json.dumps({name: public[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    digest = hashlib.sha256(members.encode()).digest()
    return SigningKey(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), private)


def _public_jwk(private: RSAPrivateKey) -> dict[str, Any]:
    jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {name: jwk[name] for name in ("kty", "n", "e")}


def _load(path: Path) -> list[SigningKey]:
    stored = json.loads(path.read_text())
    keys = []
    for pem in stored["keys"]:
        private = serialization.load_pem_private_key(pem.encode(), password=None)
        if not isinstance(private, RSAPrivateKey):
            raise ValueError(f"{path} holds a key that is not RSA.")  # noqa: TRY004 - the file is wrong, not a caller
        keys.append(_signing_key(private))
    return keys


def _save(keys: list[SigningKey], path: Path) -> None:
    """Writes all keys at once, readable by the owner alone."""
    pems = [
        key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        for key in keys
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"keys": pems}, file)
    temporary.replace(path)
