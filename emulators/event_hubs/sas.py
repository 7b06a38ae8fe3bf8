"""Shared access signatures: the tokens by which clients prove that they know the namespace's key.

Format and signature: https://learn.microsoft.com/rest/api/eventhub/generate-sas-token
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_plus

from .addresses import covers, path_of

_SCHEME = "SharedAccessSignature "


class TokenError(Exception):
    """The token does not grant what is asked; the message says why."""


class Grant(NamedTuple):
    """Access to everything under `path` until `expires` (seconds since 1970)."""

    path: str
    expires: float


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A shared access policy of the namespace: its name and its key."""

    name: str
    key: str

    def verify(self, token: str, audience: str, now: float) -> Grant:
        """Checks a token's signature, expiry and scope for `audience`; raises `TokenError`.

        Only the path of the scope counts: clients sign the address that they connect to, which behind a forwarded
        port is not the one that this process listens on.
        """
        if not token.startswith(_SCHEME):
            raise TokenError("InvalidSignature: The token is not a shared access signature.")
        fields = dict(part.partition("=")[::2] for part in token.removeprefix(_SCHEME).split("&"))
        if not {"sr", "sig", "se"} <= fields.keys():
            raise TokenError("MalformedToken: The token lacks sr, sig or se.")
        if unquote_plus(fields.get("skn", self.name)) != self.name:
            raise TokenError(f"InvalidSignature: There is no key named '{unquote_plus(fields['skn'])}'.")
        try:
            signature = base64.b64decode(unquote_plus(fields["sig"]).replace(" ", "+"), validate=True)
            expires = float(unquote_plus(fields["se"]))
        except (binascii.Error, ValueError):
            raise TokenError("MalformedToken: The signature or the expiry is malformed.") from None
        signed = f"{fields['sr']}\n{fields['se']}".encode()
        if not hmac.compare_digest(signature, hmac.digest(self.key.encode(), signed, hashlib.sha256)):
            raise TokenError("InvalidSignature: The token has an invalid signature.")
        if expires <= now:
            raise TokenError("ExpiredToken: The token is expired.")
        path = path_of(audience)
        if not covers(path_of(unquote_plus(fields["sr"])), path):
            raise TokenError(f"InvalidAudience: The token does not cover '{audience}'.")
        return Grant(path, expires)

    def matches(self, name: str, key: str) -> bool:
        """Whether a name and key given as SASL PLAIN credentials are this policy's."""
        return name == self.name and hmac.compare_digest(key.encode(), self.key.encode())
