"""The client endpoint `/client/hubs/{hub}`: tokens, subprotocols, and the life of a connection."""

import logging

from aiohttp import WSMsgType, web

from emulators.web_pubsub.connections import (
    JSON_PROTOCOL,
    POLICY_VIOLATION,
    RELIABLE_PROTOCOL,
    Connection,
    JsonConnection,
    ReliableConnection,
)
from emulators.web_pubsub.hub import Hub, Hubs
from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.outbox import Outbox
from emulators.web_pubsub.requests import ProtocolViolationError, Requests
from emulators.web_pubsub.tokens import ClientIdentity, InvalidTokenError, Tokens

_log = logging.getLogger(__name__)

# A client that closes in the ordinary way (RFC 6455 section 7.4.1: 1000, or no code at all) does not come back.
_FINAL_CLOSE_CODES = frozenset({0, 1000, 1005})


class ClientEndpoint:
    """Accepts and serves client connections."""

    def __init__(self, hubs: Hubs, tokens: Tokens, limits: Limits) -> None:
        self._hubs = hubs
        self._tokens = tokens
        self._limits = limits

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Handles the upgrade request, and returns when the socket is closed.

        401 for a missing, forged or expired token or one for another hub; a recovery that is not possible is
        accepted and closed with 1008, as client-spec.md section 1.4 asks.
        """
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if any(name.startswith("protobuf.") for name in offered):
            raise web.HTTPBadRequest(text="The protobuf subprotocols are not emulated.")
        lost_id = request.query.get("awps_connection_id")
        identity = self._identify(request) if lost_id is None else None
        hub = self._hubs[request.match_info["hub"]]

        socket = web.WebSocketResponse(
            protocols=(RELIABLE_PROTOCOL, JSON_PROTOCOL),
            # Frames are encoded once and shared by all receivers, which compression would undo.
            compress=False,
            heartbeat=self._limits.keep_alive_seconds,
            max_msg_size=self._limits.message_bytes,
            timeout=1.0,
        )
        writer = await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        reliable = socket.ws_protocol == RELIABLE_PROTOCOL
        # After a recovery everything that is not acknowledged has to fit.
        limit = self._limits.unacknowledged_bytes if reliable else self._limits.send_buffer_bytes
        outbox = Outbox(socket, writer, transport, limit)
        connection: Connection | None = None
        if identity is not None:
            connection = self._create(socket.ws_protocol, identity, hub)
            hub.add(connection, identity.groups)
        elif lost_id is not None and reliable:
            connection = self._recover(hub, lost_id, request.query.get("awps_reconnection_token", ""))
        if connection is None:
            await outbox.close(POLICY_VIOLATION, "The connection cannot be recovered.")
            return socket
        connection.connected(outbox)
        await self._serve(hub, connection, socket, outbox)
        return socket

    def _identify(self, request: web.Request) -> ClientIdentity:
        token = request.query.get("access_token") or bearer(request)
        try:
            return self._tokens.verify_client(token, f"http://{request.host}{request.rel_url.raw_path}")
        except InvalidTokenError as error:
            raise web.HTTPUnauthorized(text=str(error)) from error

    def _create(self, protocol: str | None, identity: ClientIdentity, hub: Hub) -> Connection:
        if protocol == RELIABLE_PROTOCOL:
            return ReliableConnection(
                identity, self._limits, lambda connection_id: self._tokens.issue_reconnection(hub.name, connection_id)
            )
        return JsonConnection(identity) if protocol == JSON_PROTOCOL else Connection(identity)

    def _recover(self, hub: Hub, connection_id: str, token: str) -> ReliableConnection | None:
        try:
            self._tokens.verify_reconnection(token, hub.name, connection_id)
        except InvalidTokenError as error:
            _log.info("hub %s: connection %s is not recovered: %s", hub.name, connection_id, error)
            return None
        connection = hub.connection(connection_id)
        return connection if isinstance(connection, ReliableConnection) else None

    async def _serve(self, hub: Hub, connection: Connection, socket: web.WebSocketResponse, outbox: Outbox) -> None:
        """Reads until the socket is closed, by whichever side."""
        requests = Requests(hub, connection) if isinstance(connection, JsonConnection) else None
        final = False
        try:
            while True:
                received = await socket.receive()
                if received.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    final = received.type is WSMsgType.CLOSE and received.data in _FINAL_CLOSE_CODES
                    break
                if requests is None or hub.connection(connection.id) is not connection:
                    continue  # A plain client's messages go to event handlers, and there are none; or it is closing.
                try:
                    requests.handle(received.data)
                except ProtocolViolationError as error:
                    _log.info("hub %s: connection %s is closed: %s", hub.name, connection.id, error)
                    hub.close(connection, str(error), POLICY_VIOLATION)
        finally:
            self._lost(hub, connection, outbox, final=final)

    def _lost(self, hub: Hub, connection: Connection, outbox: Outbox, *, final: bool) -> None:
        if connection.outbox is not outbox:
            return  # Another socket has recovered the connection meanwhile.
        if isinstance(connection, ReliableConnection) and not final and hub.connection(connection.id) is connection:
            connection.detach(lambda: hub.remove(connection))
        else:
            hub.remove(connection)


def bearer(request: web.BaseRequest) -> str | None:
    """The token of the `Authorization: Bearer` header."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
