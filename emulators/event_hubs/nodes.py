"""Nodes that answer requests: `$cbs` and `$management`."""

from typing import NamedTuple, Protocol

from .messages import Request, build_response
from .values import Int


class Response(NamedTuple):
    """An answer: an HTTP-like status, its description, and a body of AMQP values."""

    status: int
    description: str
    body: object = None

    def encode(self, request: Request) -> bytes:
        """The message that answers `request`."""
        properties = {"status-code": Int(self.status), "status-description": self.description}
        return build_response(request, properties, self.body)


class Node(Protocol):
    """Something that answers requests."""

    def respond(self, request: Request) -> Response:
        """Answers a request."""
