"""One client connection of each kind: plain, `json.webpubsub.azure.v1`, `json.reliable.webpubsub.azure.v1`."""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.messages import Message, json_frame
from emulators.web_pubsub.outbox import Outbox
from emulators.web_pubsub.permissions import Permissions
from emulators.web_pubsub.tokens import ClientIdentity

JSON_PROTOCOL: Final = "json.webpubsub.azure.v1"
RELIABLE_PROTOCOL: Final = "json.reliable.webpubsub.azure.v1"

NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008

_REMEMBERED_ACKS: Final = 10_000


class Connection:
    """A simple WebSocket client: it receives payloads as they are and speaks no protocol."""

    close_code = NORMAL_CLOSURE

    def __init__(self, identity: ClientIdentity) -> None:
        self.id = secrets.token_urlsafe(16)
        self.user_id = identity.user_id
        self.permissions = Permissions(identity.roles)
        self.groups: set[str] = set()
        self.outbox: Outbox | None = None

    def deliver(self, message: Message) -> bool:
        """Sends a message; False when the connection cannot go on and must be closed."""
        return self.outbox is not None and self.outbox.put(message.plain_frame)

    def connected(self, outbox: Outbox) -> None:
        """Takes the socket into use."""
        self.outbox = outbox

    def notify_disconnected(self, reason: str) -> None:
        """Says why the connection is about to be closed, where the protocol has words for it."""

    def reply(self, value: object) -> None:
        """Sends a protocol message to this connection alone."""
        if self.outbox is not None:
            self.outbox.put(json_frame(value))


class JsonConnection(Connection):
    """A PubSub WebSocket client."""

    def __init__(self, identity: ClientIdentity) -> None:
        super().__init__(identity)
        self._acknowledged: OrderedDict[int, None] = OrderedDict()

    def deliver(self, message: Message) -> bool:
        """Sends a message in its envelope; False as for every connection."""
        return self.outbox is not None and self.outbox.put(message.json_frame)

    def connected(self, outbox: Outbox) -> None:
        """Takes the socket into use and tells the client its ids."""
        super().connected(outbox)
        self.reply(self._connected_message())

    def notify_disconnected(self, reason: str) -> None:
        """Sends the `disconnected` message."""
        self.reply({"type": "system", "event": "disconnected", "message": reason})

    def is_duplicate(self, ack_id: int) -> bool:
        """Whether a request with this `ackId` has been carried out already (client-spec.md section 3.1)."""
        return ack_id in self._acknowledged

    def remember(self, ack_id: int) -> None:
        """Notes that the request with this `ackId` was carried out."""
        self._acknowledged[ack_id] = None
        if len(self._acknowledged) > _REMEMBERED_ACKS:
            self._acknowledged.popitem(last=False)

    def _connected_message(self) -> dict[str, object]:
        return {"type": "system", "event": "connected", "userId": self.user_id, "connectionId": self.id}


class ReliableConnection(JsonConnection):
    """A PubSub client that numbers and keeps its messages until they are acknowledged, across lost sockets.

    While no socket is attached it stays a member of its groups and its messages queue (client-spec.md section 1.4).
    """

    # 1008 tells the client to stop recovering and to connect anew.
    close_code = POLICY_VIOLATION

    def __init__(self, identity: ClientIdentity, limits: Limits, reconnection_token: Callable[[str], str]) -> None:
        super().__init__(identity)
        self._limits = limits
        self._reconnection_token = reconnection_token
        self._sequence_id = 0
        self._unacknowledged: deque[tuple[int, bytes]] = deque()
        self._unacknowledged_bytes = 0
        self._expiry: asyncio.TimerHandle | None = None

    def deliver(self, message: Message) -> bool:
        """Numbers, keeps and sends a message; False when too much is unacknowledged (client-spec.md section 3.2)."""
        self._sequence_id += 1
        frame = message.reliable_frame(self._sequence_id)
        self._unacknowledged.append((self._sequence_id, frame))
        self._unacknowledged_bytes += len(frame)
        if (
            len(self._unacknowledged) > self._limits.unacknowledged_messages
            or self._unacknowledged_bytes > self._limits.unacknowledged_bytes
        ):
            return False
        if self.outbox is not None:
            self.outbox.put(frame)
        return True

    def connected(self, outbox: Outbox) -> None:
        """Takes a socket into use, the first or one that recovers, and repeats what is not acknowledged."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.outbox is not None:
            self.outbox.abort()
        super().connected(outbox)
        for _, frame in self._unacknowledged:
            outbox.put(frame)

    def detach(self, expire: Callable[[], None]) -> None:
        """The socket is lost: `expire` is called unless another one recovers the connection in time."""
        self.outbox = None
        self._expiry = asyncio.get_running_loop().call_later(self._limits.recovery_seconds, expire)

    def forget(self) -> None:
        """Stops waiting for a recovery."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def acknowledge(self, sequence_id: int) -> None:
        """Drops every message up to this one: the client has them."""
        while self._unacknowledged and self._unacknowledged[0][0] <= sequence_id:
            self._unacknowledged_bytes -= len(self._unacknowledged.popleft()[1])

    def _connected_message(self) -> dict[str, object]:
        return {**super()._connected_message(), "reconnectionToken": self._reconnection_token(self.id)}
