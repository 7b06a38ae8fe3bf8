"""Paging cursors: opaque to callers, valid only as they were given and for the list they were given for.

A cursor holds a position, no right: every call checks the caller anew. The tag makes an altered one, or one of another
list, recognisable.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

from shared.problems import FieldError, InvalidRequestError

_TAG_BYTES = 12
LONGEST = 1_024


class Cursors:
    """Cursors of one deployment: every instance has the same key, so any may continue what another began."""

    def __init__(self, key: str) -> None:
        self._key = blake2b(key.encode(), person=b"pulse-cursors").digest()

    def seal(self, listing: str, *position: int | str) -> str:
        """Returns the cursor of a position in the named list."""
        body = json.dumps(position, separators=(",", ":")).encode()
        return urlsafe_b64encode(self._tag(listing, body) + body).rstrip(b"=").decode()

    def open(self, listing: str, cursor: str) -> list[Any]:
        """Returns the position. Raises InvalidRequestError for anything that `seal` has not made of this list."""
        try:
            raw = urlsafe_b64decode(cursor[:LONGEST] + "=" * (-len(cursor[:LONGEST]) % 4))
        except ValueError:
            raise _foreign() from None
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        # Encoded again, because the decoder overlooks foreign characters and unused bits.
        same = urlsafe_b64encode(raw).rstrip(b"=").decode() == cursor
        if not same or not compare_digest(tag, self._tag(listing, body)):
            raise _foreign()
        position: list[Any] = json.loads(body)
        return position

    def _tag(self, listing: str, body: bytes) -> bytes:
        return blake2b(listing.encode() + b"\0" + body, digest_size=_TAG_BYTES, key=self._key).digest()


def _foreign() -> InvalidRequestError:
    return InvalidRequestError([FieldError("/cursor", "should be a cursor of this very list, as it was given")])
