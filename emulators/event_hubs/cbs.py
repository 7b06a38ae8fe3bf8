"""Claims-based security: the `$cbs` node, where clients put the tokens that authorize their links.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide#claims-based-authorization
"""

from collections.abc import Callable

from .addresses import covers
from .messages import Request
from .nodes import Response
from .sas import Grant, SharedKey, TokenError

NODE = "$cbs"
_SAS_TYPE = "servicebus.windows.net:sastoken"


class Grants:
    """What one connection may do. `now` is the clock in seconds since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._expiries: dict[str, float] = {}

    def add(self, grant: Grant) -> None:
        """Takes a grant, replacing an older one for the same path."""
        self._expiries[grant.path] = grant.expires

    def allow(self, path: str) -> bool:
        """Whether a grant that has not expired covers a path."""
        now = self._now()
        return any(expires > now and covers(granted, path) for granted, expires in self._expiries.items())

    def any_valid(self) -> bool:
        """Whether there is any grant that has not expired."""
        now = self._now()
        return any(expires > now for expires in self._expiries.values())


class Cbs:
    """The `$cbs` node of one connection."""

    def __init__(self, key: SharedKey, grants: Grants, now: Callable[[], float]) -> None:
        self._key = key
        self._grants = grants
        self._now = now

    def respond(self, request: Request) -> Response:
        """Answers `put-token`."""
        operation, kind, audience = (request.properties.get(name) for name in ("operation", "type", "name"))
        if operation != "put-token" or not isinstance(audience, str) or not isinstance(request.body, str):
            return Response(400, "A put-token request with a name and a token is expected.")
        if kind != _SAS_TYPE:
            return Response(401, f"Tokens of type '{kind}' are not accepted here; use '{_SAS_TYPE}'.")
        try:
            self._grants.add(self._key.verify(request.body, audience, self._now()))
        except TokenError as error:
            return Response(401, str(error))
        return Response(202, "Accepted")
