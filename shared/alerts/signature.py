"""What the webhook's owner checks: that a call is ours, unaltered and recent."""

import hashlib
import hmac

HEADER = "X-Pulse-Signature"


def sign(secret: str, body: bytes, now: int) -> str:
    """Returns the header for a body sent at `now` (ms): `t=<seconds>,v1=<hex>`.

    The hex is HMAC-SHA256, keyed by the secret's UTF-8 bytes, of the seconds, a dot and the body.
    """
    seconds = str(now // 1000)
    digest = hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
