"""Connections (OASIS AMQP 1.0, part 2, sections 2.2 to 2.4; SASL: part 5.3): headers, frames, opening and closing."""

import asyncio
import logging
import struct
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from .cbs import Cbs, Grants
from .decoding import DecodeError
from .errors import (
    DECODE_ERROR,
    FORCED,
    FRAMING_ERROR,
    ILLEGAL_STATE,
    NOT_ALLOWED,
    AmqpConnectionError,
    AmqpSessionError,
)
from .management import Management
from .performatives import (
    AMQP_FRAME,
    SASL_FRAME,
    Begin,
    Close,
    End,
    Error,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    decode_performative,
    encode_frame,
)
from .sas import Grant
from .session import Session

if TYPE_CHECKING:
    from .broker import Broker

_LOG = logging.getLogger(__name__)
_SASL_HEADER = b"AMQP\x03\x01\x00\x00"
_AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
_EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"
_FRAME_HEADER = struct.Struct(">IBBH")
_MAX_FRAME_SIZE = 65_536
_CHANNEL_MAX = 4999
_MECHANISMS = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]


class _State(Enum):
    SASL_HEADER = auto()
    SASL = auto()
    AMQP_HEADER = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, broker: "Broker") -> None:
        self.broker = broker
        self.loop = asyncio.get_running_loop()
        self.grants = Grants(broker.now)
        self.cbs = Cbs(broker.key, self.grants, broker.now)
        self.management = Management(broker.namespace, self.grants, broker.now_ms)
        self.out: list[bytes] = []
        self.max_frame_size = 512
        self.is_congested = False
        self._transport: asyncio.Transport | None = None
        self._state = _State.SASL_HEADER
        self._sessions: dict[int, Session] = {}
        self._unread = b""
        self._flushing = False
        self._last_received = self._last_sent = self.loop.time()
        self._keep_alive: asyncio.TimerHandle | None = None

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts to serve a client."""
        self._transport = cast(asyncio.Transport, transport)
        self.broker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Releases everything the client held."""
        _LOG.debug("connection lost: %s", exc)
        self._state = _State.CLOSED
        self._transport = None
        self.broker.connections.discard(self)
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def pause_writing(self) -> None:
        """The client reads more slowly than we send."""
        self.is_congested = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_congested = False
        for session in self._sessions.values():
            session.resume()

    def data_received(self, data: bytes) -> None:
        """Handles every complete frame, then sends what they led to in one write."""
        self._last_received = self.loop.time()
        self._flushing = True  # below
        if self._unread:
            data = self._unread + data
        try:
            self._unread = data[self._consume(data) :]
        except DecodeError as error:
            self.close(Error(DECODE_ERROR, f"A frame cannot be read: {error}."))
        except AmqpConnectionError as failure:
            self.close(failure.error)
        for session in self._sessions.values():
            session.settle()
        self.flush()

    # --- receiving ---

    def _consume(self, data: bytes) -> int:
        at, end = 0, len(data)
        while end - at >= 8 and self._state is not _State.CLOSED:
            if self._state in (_State.SASL_HEADER, _State.AMQP_HEADER):
                self._on_header(data[at : at + 8])
                at += 8
                continue
            size, doff, kind, channel = _FRAME_HEADER.unpack_from(data, at)
            if size < 8 or size > _MAX_FRAME_SIZE or not 2 <= doff <= size // 4:
                raise AmqpConnectionError(FRAMING_ERROR, f"A frame of {size} bytes with a header of {4 * doff}.")
            if size > end - at:
                break
            body, at = at + 4 * doff, at + size
            if body < at:
                self._on_frame(kind, channel, data[body:at])
        return at if self._state is not _State.CLOSED else end

    def _on_header(self, header: bytes) -> None:
        expected = _SASL_HEADER if self._state is _State.SASL_HEADER else _AMQP_HEADER
        self.out.append(expected)
        if header != expected:
            # Section 2.2: answer with what is supported, then close the socket.
            _LOG.warning("closing a connection that starts with %r instead of %r", header, expected)
            self._hang_up()
        elif self._state is _State.SASL_HEADER:
            self.out.append(encode_frame(0, SaslMechanisms(_MECHANISMS), kind=SASL_FRAME))
            self._state = _State.SASL
        else:
            self._state = _State.OPENING

    def _on_frame(self, kind: int, channel: int, body: bytes) -> None:
        performative, payload_at = decode_performative(body, 0)
        if self._state is _State.SASL:
            if kind != SASL_FRAME or not isinstance(performative, SaslInit):
                raise AmqpConnectionError(ILLEGAL_STATE, "A SASL init frame is expected.")
            self._on_sasl_init(performative)
        elif kind != AMQP_FRAME:
            raise AmqpConnectionError(FRAMING_ERROR, f"A frame of type {kind} is not expected here.")
        elif self._state is _State.OPENING:
            if not isinstance(performative, Open):
                raise AmqpConnectionError(ILLEGAL_STATE, "An open frame is expected.")
            self._on_open(performative)
        else:
            self._on_performative(channel, performative, body[payload_at:])

    def _on_sasl_init(self, init: SaslInit) -> None:
        welcome = init.mechanism in _MECHANISMS
        if init.mechanism == "PLAIN":
            _, name, password = ((init.initial_response or b"").decode(errors="replace").split("\0") + [""] * 3)[:3]
            welcome = self.broker.key.matches(name, password)
            if welcome:
                self.grants.add(Grant("", float("inf")))
        self.out.append(encode_frame(0, SaslOutcome(0 if welcome else 1), kind=SASL_FRAME))
        if welcome:
            self._state = _State.AMQP_HEADER
        else:
            self._hang_up()

    def _on_open(self, client: Open) -> None:
        limit = client.max_frame_size if client.max_frame_size is not None else _MAX_FRAME_SIZE
        self.max_frame_size = max(512, min(limit, _MAX_FRAME_SIZE))
        self._state = _State.OPEN
        self.send(
            0,
            Open(
                self.broker.container_id,
                max_frame_size=_MAX_FRAME_SIZE,
                channel_max=_CHANNEL_MAX,
                # Section 2.4.5: announce half of the time after which the connection is really closed.
                idle_time_out=int(self.broker.idle_seconds * 500),
            ),
        )
        if client.idle_time_out:
            self._keep_alive_every(client.idle_time_out / 1000 / 2)

    def _on_performative(self, channel: int, performative: Performative, payload: bytes) -> None:
        session = self._sessions.get(channel)
        match performative:
            case Close():
                self.close(None)
            case Begin():
                if session is not None or channel > _CHANNEL_MAX:
                    raise AmqpConnectionError(NOT_ALLOWED, f"A session cannot begin on channel {channel}.")
                self._sessions[channel] = Session(self, channel, performative)
            case End():
                if session is not None:
                    session.settle()
                    session.close()
                    del self._sessions[channel]
                    self.send(channel, End())
            case _ if session is None:
                # Frames may still be under way to a session that was ended with an error.
                _LOG.debug("ignored a frame on channel %d, which has no session", channel)
            case _:
                try:
                    session.handle(performative, payload)
                except AmqpSessionError as failure:
                    _LOG.warning("ended a session: %s", failure)
                    del self._sessions[channel]
                    session.end(failure.error)

    # --- sending ---

    def send(self, channel: int, performative: tuple[object, ...]) -> None:
        """Sends a frame without a payload, with the next flush."""
        self.out.append(encode_frame(channel, performative))
        self.flush_soon()

    def flush_soon(self) -> None:
        """Has everything in `out` written in this turn of the event loop."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes everything in `out`."""
        self._flushing = False
        if self.out and self._transport is not None:
            self._transport.write(b"".join(self.out))
            self._last_sent = self.loop.time()
        self.out.clear()

    def close(self, error: Error | None) -> None:
        """Closes the connection, for a reason or in answer to the client's own close."""
        if self._state is _State.CLOSED:
            return
        if error is not None:
            level = logging.INFO if error.condition == FORCED else logging.WARNING
            _LOG.log(level, "closed a connection: %s %s", error.condition, error.description)
        if self._state is _State.OPEN:
            for session in self._sessions.values():
                session.settle()
            self.out.append(encode_frame(0, Close(error)))
        self._hang_up()

    def _hang_up(self) -> None:
        self._state = _State.CLOSED
        self.flush()
        if self._transport is not None:
            self._transport.close()

    # --- time ---

    def _keep_alive_every(self, seconds: float) -> None:
        def tick() -> None:
            if self._transport is not None and self.loop.time() - self._last_sent >= seconds / 2:
                self.out.append(_EMPTY_FRAME)
                self.flush()
            self._keep_alive = self.loop.call_later(seconds, tick)

        self._keep_alive = self.loop.call_later(seconds, tick)

    def check(self) -> None:
        """Closes the connection if the client has fallen silent, and detaches links whose token has expired."""
        idle = self.loop.time() - self._last_received
        if idle > self.broker.idle_seconds:
            self.close(Error(FORCED, f"The connection was inactive for {idle:.0f} seconds."))
        for session in self._sessions.values():
            session.check_access()
