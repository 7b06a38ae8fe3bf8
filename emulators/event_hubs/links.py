"""The mechanics that links share (OASIS AMQP 1.0, part 2, section 2.6): credit, deliveries in parts, settlement."""

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from .decoding import DecodeError
from .errors import DECODE_ERROR, MESSAGE_TOO_LARGE, NOT_ALLOWED, AmqpLinkError, RejectedError
from .performatives import Attach, Error, Flow, Source, Target, Transfer

if TYPE_CHECKING:
    from .session import Session

MAX_MESSAGE_SIZE = 1024 * 1024
_CREDIT = 1000
# How much one link sends before the connection is asked again whether its client keeps up.
_BURST_BYTES = 1024 * 1024
_SEQUENCE_MASK = 0xFFFF_FFFF
SETTLED = 1  # snd-settle-mode


class Link:
    """A link as this server sees it; `path` is the address that the client must have access to."""

    def __init__(self, session: "Session", attach: Attach, path: str) -> None:
        self.session = session
        self.handle = attach.handle
        self.name = attach.name
        self.path = path
        self._attach = attach

    def attach_reply(self) -> Attach:
        """What answers the client's attach: its own words from the other side, with both ends filled in."""
        attach = self._attach
        # azure-eventhub takes an attach without both ends for a refusal.
        return attach._replace(
            role=not attach.role,
            snd_settle_mode=SETTLED if attach.role else attach.snd_settle_mode,
            rcv_settle_mode=0,
            source=attach.source or Source(),
            target=attach.target or Target(),
            unsettled=None,
            incomplete_unsettled=None,
            initial_delivery_count=0 if attach.role else None,
            max_message_size=MAX_MESSAGE_SIZE,
            offered_capabilities=None,
            desired_capabilities=None,
        )

    def on_attached(self) -> None:
        """The client has been told that the link is attached."""

    def on_flow(self, flow: Flow) -> None:
        """The client sent a flow for this link."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """The client sent a message or a part of one."""
        size, delivery_id = len(payload), transfer.delivery_id
        raise AmqpLinkError(NOT_ALLOWED, f"Delivery {delivery_id} of {size} bytes came on a link that receives.")

    def on_window(self) -> None:
        """There may be room to send again."""

    def on_closed(self) -> None:
        """The link has ended, whoever ended it."""

    def is_allowed(self) -> bool:
        """Whether the connection still has access to what this link is attached to."""
        return self.session.connection.grants.allow(self.path)


class ReceivingLink(Link, ABC):
    """A link on which clients send: puts deliveries together, bounds their size, and hands out credit."""

    def __init__(self, session: "Session", attach: Attach, path: str) -> None:
        super().__init__(session, attach, path)
        self._delivery_count = attach.initial_delivery_count or 0
        self._credit = 0
        self._first: Transfer | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def on_attached(self) -> None:
        """Grants the first credit."""
        self._grant()

    def on_flow(self, flow: Flow) -> None:
        """Answers an echo."""
        if flow.echo:
            self._grant()

    def _grant(self) -> None:
        self._credit = _CREDIT
        self.session.send_flow(handle=self.handle, delivery_count=self._delivery_count, link_credit=self._credit)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Takes a message or a part of one, and settles it when it is complete."""
        if transfer.aborted:
            self._reset()
            return
        first = self._first = self._first or transfer
        self._size += len(payload)
        if self._size <= MAX_MESSAGE_SIZE:
            self._parts.append(payload)
        if transfer.more:
            return
        message, size = b"".join(self._parts), self._size
        self._reset()
        self._credit -= 1
        self._delivery_count = (self._delivery_count + 1) & _SEQUENCE_MASK
        delivery_id, is_settled = first.delivery_id or 0, first.settled or transfer.settled
        error = self._try_accept(message, first.message_format or 0, delivery_id, size)
        if error is None:
            if not is_settled:
                self.session.accept(delivery_id)
        elif is_settled:
            # The client does not wait for an outcome; only the end of the link can tell it.
            raise AmqpLinkError(error.condition, error.description or "")
        else:
            self.session.reject(delivery_id, error)
        if self._credit <= _CREDIT // 2:
            self._grant()

    def _try_accept(self, message: bytes, message_format: int, delivery_id: int, size: int) -> Error | None:
        """Takes a complete message; returns why it is refused, or None."""
        if size > MAX_MESSAGE_SIZE:
            return Error(
                MESSAGE_TOO_LARGE,
                f"The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit "
                f"({MAX_MESSAGE_SIZE} bytes) currently allowed on the link.",
            )
        try:
            self.accept(message, message_format)
        except DecodeError as error:
            return Error(DECODE_ERROR, f"The message cannot be read: {error}.")
        except RejectedError as rejection:
            return rejection.error
        return None

    def _reset(self) -> None:
        self._first, self._parts, self._size = None, [], 0

    @abstractmethod
    def accept(self, message: bytes, message_format: int) -> None:
        """Takes a complete message; raises `RejectedError` or `DecodeError` to refuse it."""


class SendingLink(Link):
    """A link on which this server sends, always settled, as Event Hubs does."""

    # size | doff, type, channel, performative up to the delivery id | delivery id | binary of 4 | tag | the rest
    _PREFIX = struct.Struct(">BBH3s3ssIs")
    _FRAME = struct.Struct(">I16sI2sI8s")
    # message format 0, settled, more, no receiver settle mode and state; not resumed, aborted, batchable
    _LAST = b"\x43\x41\x42\x40\x40\x42\x42\x42"
    _MORE = b"\x43\x41\x41\x40\x40\x42\x42\x42"

    def __init__(self, session: "Session", attach: Attach, path: str) -> None:
        super().__init__(session, attach, path)
        self.credit = 0
        self._delivery_count = 0
        self._draining = False
        fields = b"\xc0" + bytes((25, 11))  # a list of 25 bytes, the count among them, and the 11 fields of a transfer
        self._prefix = self._PREFIX.pack(2, 0, session.channel, b"\x00\x53\x14", fields, b"\x70", self.handle, b"\x70")
        self._room = session.connection.max_frame_size - self._FRAME.size

    def on_flow(self, flow: Flow) -> None:
        """Takes the credit that the client gives."""
        if flow.link_credit is not None:
            received = flow.delivery_count if flow.delivery_count is not None else 0
            self.credit = max((received + flow.link_credit - self._delivery_count) & _SEQUENCE_MASK, 0)
            if self.credit > _SEQUENCE_MASK // 2:  # the client took back credit that has been used meanwhile
                self.credit = 0
        self._draining = bool(flow.drain)
        self.on_window()
        if flow.echo:
            self.send_flow()

    def send_flow(self) -> None:
        """Tells the client this link's state."""
        self.session.send_flow(
            handle=self.handle, delivery_count=self._delivery_count, link_credit=self.credit, drain=self._draining
        )

    def finish_drain(self) -> None:
        """Uses up the credit of a draining client: there is nothing more to send to it now."""
        if self._draining and self.credit:
            self._delivery_count = (self._delivery_count + self.credit) & _SEQUENCE_MASK
            self.credit = 0
            self.send_flow()

    def transmit(self, messages: list[bytes]) -> int:
        """Sends messages as far as credit and the session's window allow, up to about 1 MB; returns how many.

        They go to the connection's `out`, to be flushed by the caller.
        """
        session, room, prefix, pack = self.session, self._room, self._prefix, self._FRAME.pack
        connection = session.connection
        out, delivery_id, window = connection.out, session.next_delivery_id, session.remote_window
        head = self._FRAME.size
        sent = sent_bytes = 0
        for message in messages[: self.credit]:
            size, at = len(message), 0
            frames = 1 if size <= room else -(-size // room)
            if frames > window or sent_bytes >= _BURST_BYTES:
                break
            for _ in range(frames - 1):
                out.append(pack(head + room, prefix, delivery_id, b"\xa0\x04", delivery_id, self._MORE))
                out.append(message[at : at + room])
                at += room
            out.append(pack(head + size - at, prefix, delivery_id, b"\xa0\x04", delivery_id, self._LAST))
            out.append(message[at:] if at else message)
            delivery_id = (delivery_id + 1) & _SEQUENCE_MASK
            window -= frames
            sent += 1
            sent_bytes += size
        session.next_delivery_id = delivery_id
        session.sent_frames(session.remote_window - window)
        self.credit -= sent
        self._delivery_count = (self._delivery_count + sent) & _SEQUENCE_MASK
        return sent
