"""What links are attached to: hubs to send to, partitions to read, and the nodes that answer requests."""

from typing import TYPE_CHECKING

from . import cbs, management
from .addresses import parse_consumer, parse_producer, path_of
from .errors import INTERNAL_ERROR, INVALID_FIELD, NOT_FOUND, UNAUTHORIZED, AmqpLinkError, RejectedError
from .hubs import Hub
from .links import Link, ReceivingLink, SendingLink
from .messages import parse_request, parse_transfer, with_delivery_annotations
from .nodes import Node
from .partition import Partition
from .performatives import Attach
from .positions import parse_filter
from .values import Timestamp

if TYPE_CHECKING:
    from .session import Session

_EPOCH = "com.microsoft:epoch"
_RUNTIME_METRIC = "com.microsoft:enable-receiver-runtime-metric"
# How much one consumer may send before others get their turn.
_BURST = 512


class ProducerLink(ReceivingLink):
    """Takes events for a hub or for one of its partitions."""

    def __init__(self, session: "Session", attach: Attach, path: str, hub: Hub, partition: Partition | None) -> None:
        super().__init__(session, attach, path)
        self._hub = hub
        self._partition = partition

    def accept(self, message: bytes, message_format: int) -> None:
        """Stores an event or a batch; when it returns, they may be acknowledged."""
        partition_key, events = parse_transfer(message, message_format)
        partition = self._partition or self._hub.route(partition_key)
        try:
            partition.append(events)
        except OSError as error:
            raise RejectedError(INTERNAL_ERROR, f"The event could not be stored: {error}") from error


class ConsumerLink(SendingLink):
    """Delivers the events of a partition from a position on, and each new one as soon as it is stored."""

    def __init__(self, session: "Session", attach: Attach, path: str) -> None:
        super().__init__(session, attach, path)
        address = parse_consumer(path)
        if address is None:
            raise AmqpLinkError(NOT_FOUND, f"The messaging entity '{path}' could not be found.")
        hub = session.connection.broker.namespace.hub(address.hub)
        self._partition = hub.partition(address.partition)
        self._receivers = hub.receivers_of(address.group, address.partition)
        source = attach.source
        self._next = self._partition.locate(parse_filter(source.filter if source else None))
        self.epoch = _epoch(attach)
        self._with_metric = _RUNTIME_METRIC in (attach.desired_capabilities or ())
        self._scheduled = self._waiting = self._closed = False
        self._receivers.admit(self)

    def attach_reply(self) -> Attach:
        """Offers the runtime metric to a client that desires it."""
        reply = super().attach_reply()
        return reply._replace(offered_capabilities=[_RUNTIME_METRIC]) if self._with_metric else reply

    def disconnect(self, reason: AmqpLinkError) -> None:
        """Ends the link because another receiver took its place."""
        self.session.detach(self, reason.error)

    def on_window(self) -> None:
        """Delivers what there is."""
        self._pump()

    def _wake(self) -> None:
        self._waiting = False
        if not self._scheduled:
            self._scheduled = True
            self.session.connection.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed or not self.credit or self.session.connection.is_congested:
            return
        partition = self._partition
        self._next = max(self._next, partition.first_sequence_number)
        messages = partition.read(self._next, min(self.credit, _BURST))
        if messages:
            if self._with_metric:
                messages = self._annotate(messages)
            self._next += self.transmit(messages)
            self.session.connection.flush()
        if self._next < partition.next_sequence_number:
            if self.credit and self.session.remote_window:
                self._wake()
            return
        self.finish_drain()
        if self.credit and not self._waiting:
            self._waiting = True
            partition.wait(self._wake)

    def _annotate(self, messages: list[bytes]) -> list[bytes]:
        properties = self._partition.properties
        annotations = {
            "last_enqueued_sequence_number": properties.last_sequence_number,
            "last_enqueued_offset": properties.last_offset,
            "last_enqueued_time_utc": Timestamp(properties.last_enqueued_ms),
            "runtime_info_retrieval_time_utc": Timestamp(self.session.connection.broker.now_ms()),
        }
        return [with_delivery_annotations(message, annotations) for message in messages]

    def on_closed(self) -> None:
        """Gives up the place among the receivers."""
        self._closed = True
        self._receivers.remove(self)
        self._partition.stop_waiting(self._wake)


class RequestLink(ReceivingLink):
    """Takes requests for a node and has the response sent on the client's other link."""

    def __init__(self, session: "Session", attach: Attach, path: str, node: Node) -> None:
        super().__init__(session, attach, path)
        self._node = node

    def is_allowed(self) -> bool:
        """Each request is checked by the node itself."""
        return True

    def accept(self, message: bytes, message_format: int) -> None:  # noqa: ARG002 - requests have one format
        """Answers a request."""
        request = parse_request(message)
        link = self._response_link(request.reply_to)
        if link is None:
            raise RejectedError(INVALID_FIELD, f"There is no link from '{self.path}' to carry the response.")
        link.send(self._node.respond(request).encode(request))

    def _response_link(self, reply_to: str | None) -> "ResponseLink | None":
        links = [link for link in self.session.links() if isinstance(link, ResponseLink) and link.path == self.path]
        # azure-eventhub names no reply address and means the one other link of the pair.
        if reply_to is not None:
            links = [link for link in links if link.target == reply_to] or links
        return links[-1] if links else None


class ResponseLink(SendingLink):
    """Carries the responses of a node."""

    def __init__(self, session: "Session", attach: Attach, path: str) -> None:
        super().__init__(session, attach, path)
        self.target = attach.target.address if attach.target else None
        self._pending: list[bytes] = []

    def is_allowed(self) -> bool:
        """Each request is checked by the node itself."""
        return True

    def send(self, message: bytes) -> None:
        """Sends a response as soon as the client gives credit."""
        self._pending.append(message)
        self.on_window()

    def on_window(self) -> None:
        """Sends what waits."""
        if self._pending:
            del self._pending[: self.transmit(self._pending)]
            self.session.connection.flush_soon()
        if not self._pending:
            self.finish_drain()


def open_link(session: "Session", attach: Attach) -> Link:
    """Connects a client's link to what its address names; raises `AmqpLinkError` to refuse it."""
    terminus = attach.source if attach.role else attach.target
    address = terminus.address if terminus else None
    if not isinstance(address, str):
        raise AmqpLinkError(INVALID_FIELD, f"Link '{attach.name}' names no address.")
    path, connection = path_of(address), session.connection
    if path == cbs.NODE:
        return _request_or_response(session, attach, path, connection.cbs)
    if path == management.NODE or path.endswith("/" + management.NODE):
        if not connection.grants.any_valid():
            raise _unauthorized(address)
        return _request_or_response(session, attach, path, connection.management)
    if not connection.grants.allow(path):
        raise _unauthorized(address)
    if attach.role:
        return ConsumerLink(session, attach, path)
    producer = parse_producer(path)
    if producer is None:
        raise AmqpLinkError(NOT_FOUND, f"The messaging entity '{address}' could not be found.")
    hub = connection.broker.namespace.hub(producer.hub)
    partition = None if producer.partition is None else hub.partition(producer.partition)
    return ProducerLink(session, attach, path, hub, partition)


def _request_or_response(session: "Session", attach: Attach, path: str, node: Node) -> Link:
    return ResponseLink(session, attach, path) if attach.role else RequestLink(session, attach, path, node)


def _unauthorized(address: str) -> AmqpLinkError:
    return AmqpLinkError(
        UNAUTHORIZED, f"Unauthorized access. No valid token covers '{address}'; put one to $cbs first."
    )


def _epoch(attach: Attach) -> int | None:
    value = (attach.properties or {}).get(_EPOCH)
    if value is None:
        return None
    if type(value) is not int:
        raise AmqpLinkError(INVALID_FIELD, f"The property {_EPOCH} must be a whole number, not {value!r}.")
    return value
