"""Sessions (OASIS AMQP 1.0, part 2, section 2.5): links by handle, transfer windows, and dispositions."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .endpoints import open_link
from .errors import HANDLE_IN_USE, UNATTACHED_HANDLE, UNAUTHORIZED, AmqpLinkError, AmqpSessionError
from .links import Link
from .performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Error,
    Flow,
    Performative,
    Source,
    Target,
    Transfer,
    encode_acceptance,
    rejected,
)

if TYPE_CHECKING:
    from .connection import Connection

_LOG = logging.getLogger(__name__)
_WINDOW = 5000
_HANDLE_MAX = 4095
_SEQUENCE_MASK = 0xFFFF_FFFF


class Session:
    """One session of a connection; both sides use the same channel number, and the same handle for a link."""

    def __init__(self, connection: "Connection", channel: int, begin: Begin) -> None:
        self.connection = connection
        self.channel = channel
        self.next_delivery_id = 0
        self.remote_window = begin.incoming_window
        self._next_outgoing_id = 1
        self._next_incoming_id = begin.next_outgoing_id
        self._frames_since_flow = 0
        self._links: dict[int, Link] = {}
        self._detached: set[int] = set()  # by us; the client's answer is due
        self._accepted: list[int] = []  # first and last delivery id of a run whose acknowledgement is due
        connection.send(
            channel, Begin(channel, self._next_outgoing_id, _WINDOW, _WINDOW, min(_HANDLE_MAX, begin.handle_max or 0))
        )

    def links(self) -> Iterable[Link]:
        """The links that are attached."""
        return self._links.values()

    def handle(self, performative: Performative, payload: bytes) -> None:
        """Takes a frame of this session; raises `AmqpSessionError` when the session cannot go on."""
        match performative:
            case Transfer():
                self._on_transfer(performative, payload)
            case Flow():
                self._on_flow(performative)
            case Attach():
                self._on_attach(performative)
            case Detach():
                self._on_detach(performative)
            case _:
                # Events are sent settled, so a client's dispositions change nothing.
                pass

    def _on_attach(self, attach: Attach) -> None:
        if attach.handle in self._links:
            raise AmqpSessionError(HANDLE_IN_USE, f"The handle {attach.handle} is already attached.")
        self._detached.discard(attach.handle)
        try:
            link = open_link(self, attach)
        except AmqpLinkError as refusal:
            self._refuse(attach, refusal.error)
            return
        self._links[attach.handle] = link
        self.connection.send(self.channel, link.attach_reply())
        link.on_attached()

    def _refuse(self, attach: Attach, error: Error) -> None:
        """Attaches without the end that the client asked for, then detaches with the reason (section 2.6.3)."""
        _LOG.warning("refused link %s: %s", attach.name, error.description)
        reply = Attach(
            attach.name,
            attach.handle,
            not attach.role,
            source=None if attach.role else attach.source or Source(),
            target=attach.target or Target() if attach.role else None,
            initial_delivery_count=0 if attach.role else None,
        )
        self.connection.send(self.channel, reply)
        self._detached.add(attach.handle)
        self.connection.send(self.channel, Detach(attach.handle, closed=True, error=error))

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) & _SEQUENCE_MASK
        self._frames_since_flow += 1
        if self._frames_since_flow >= _WINDOW // 2:
            self.send_flow()
        link = self._links.get(transfer.handle)
        if link is None:
            if transfer.handle not in self._detached:
                raise AmqpSessionError(UNATTACHED_HANDLE, f"No link is attached with the handle {transfer.handle}.")
            return
        try:
            link.on_transfer(transfer, payload)
        except AmqpLinkError as failure:
            self.detach(link, failure.error)

    def _on_flow(self, flow: Flow) -> None:
        self.remote_window = (
            (flow.next_incoming_id if flow.next_incoming_id is not None else 1)
            + flow.incoming_window
            - self._next_outgoing_id
        ) & _SEQUENCE_MASK
        if flow.handle is not None:
            link = self._links.get(flow.handle)
            if link is not None:
                link.on_flow(flow)
            elif flow.handle not in self._detached:
                raise AmqpSessionError(UNATTACHED_HANDLE, f"No link is attached with the handle {flow.handle}.")
            return
        self.resume()
        if flow.echo:
            self.send_flow()

    def _on_detach(self, detach: Detach) -> None:
        link = self._links.pop(detach.handle, None)
        if link is not None:
            link.on_closed()
            self.connection.send(self.channel, Detach(detach.handle, closed=detach.closed))
        self._detached.discard(detach.handle)

    def detach(self, link: Link, error: Error) -> None:
        """Ends a link with an error."""
        _LOG.warning("detached link %s: %s", link.name, error.description)
        del self._links[link.handle]
        self._detached.add(link.handle)
        link.on_closed()
        self.connection.send(self.channel, Detach(link.handle, closed=True, error=error))

    def check_access(self) -> None:
        """Detaches the links whose token has expired."""
        for link in list(self._links.values()):
            if not link.is_allowed():
                self.detach(link, Error(UNAUTHORIZED, f"The token for '{link.path}' has expired."))

    def resume(self) -> None:
        """Lets the links go on sending."""
        for link in list(self._links.values()):
            link.on_window()

    def sent_frames(self, count: int) -> None:
        """Counts transfer frames that were sent."""
        self._next_outgoing_id = (self._next_outgoing_id + count) & _SEQUENCE_MASK
        self.remote_window -= count

    def send_flow(
        self,
        handle: int | None = None,
        delivery_count: int | None = None,
        link_credit: int | None = None,
        drain: bool | None = None,
    ) -> None:
        """Tells the client the state of the session and, with a handle, of a link."""
        self._frames_since_flow = 0
        flow = Flow(self._next_incoming_id, _WINDOW, self._next_outgoing_id, _WINDOW, handle, delivery_count)
        self.connection.send(self.channel, flow._replace(link_credit=link_credit, drain=drain))

    def accept(self, delivery_id: int) -> None:
        """Acknowledges a delivery; runs of them share one frame, sent by `settle`."""
        if self._accepted and delivery_id == self._accepted[1] + 1:
            self._accepted[1] = delivery_id
            return
        self.settle()
        self._accepted = [delivery_id, delivery_id]

    def reject(self, delivery_id: int, error: Error) -> None:
        """Refuses a delivery."""
        self.settle()
        state = rejected(error)
        self.connection.send(self.channel, Disposition(True, delivery_id, delivery_id, True, state))

    def settle(self) -> None:
        """Sends the acknowledgements that are due."""
        if self._accepted:
            first, last = self._accepted
            self._accepted = []
            self.connection.out.append(encode_acceptance(self.channel, first, last))
            self.connection.flush_soon()

    def end(self, error: Error) -> None:
        """Ends the session with an error."""
        self.settle()
        self.close()
        self.connection.send(self.channel, End(error))

    def close(self) -> None:
        """Releases what the links hold."""
        links, self._links = list(self._links.values()), {}
        for link in links:
            link.on_closed()
