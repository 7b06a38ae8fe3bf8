"""What clients of the JSON subprotocols ask for: groups, messages, events, acknowledgements, pings.

Formats: Microsoft Learn, `json.webpubsub.azure.v1` and `json.reliable.webpubsub.azure.v1` subprotocols.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import NoReturn

from emulators.web_pubsub.connections import JsonConnection, ReliableConnection
from emulators.web_pubsub.hub import Hub
from emulators.web_pubsub.messages import DataType, Message, json_bytes
from emulators.web_pubsub.permissions import Permission

_MAX_GROUP_LENGTH = 1024

type _Request = dict[str, object]


class ProtocolViolationError(Exception):
    """The client sent something outside its protocol: the service declines such a client."""


class RefusedError(Exception):
    """The request is understood but not carried out; `name` is one of the documented error names."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class Requests:
    """Carries out the requests of one connection."""

    def __init__(self, hub: Hub, connection: JsonConnection) -> None:
        self._hub = hub
        self._connection = connection
        self._actions: dict[str, Callable[[_Request], None]] = {
            "joinGroup": self._join_group,
            "leaveGroup": self._leave_group,
            "sendToGroup": self._send_to_group,
            "event": self._send_event,
        }

    def handle(self, frame: str | bytes) -> None:
        """Carries out one request.

        Raises ProtocolViolationError when the frame is not a request, or when a request without `ackId` fails: without
        an ack the only way to tell the client is to close its connection (Microsoft Learn, "AckId and Ack Response").
        """
        try:
            self._carry_out(_parse(frame))
        except UnicodeEncodeError as error:
            raise ProtocolViolationError(f"The message holds half a surrogate pair: {error}.") from error

    def _carry_out(self, request: _Request) -> None:
        match request.get("type"):
            case "ping":
                self._connection.reply({"type": "pong"})
            case "sequenceAck":
                self._acknowledge_sequence(request)
            case str(kind) if kind in self._actions:
                self._answer(request, self._actions[kind])
            case kind:
                raise ProtocolViolationError(f"The message type {kind!r} is not known.")

    def _answer(self, request: _Request, action: Callable[[_Request], None]) -> None:
        ack_id = request.get("ackId")
        if ack_id is not None and (isinstance(ack_id, bool) or not isinstance(ack_id, int) or ack_id < 0):
            raise ProtocolViolationError("'ackId' must be a whole number.")
        try:
            self._refuse_duplicate(ack_id)
            action(request)
        except RefusedError as refused:
            if ack_id is None:
                raise ProtocolViolationError(str(refused)) from refused
            error = {"name": refused.name, "message": str(refused)}
            self._connection.reply({"type": "ack", "ackId": ack_id, "success": False, "error": error})
        else:
            if ack_id is not None:
                self._connection.remember(ack_id)
                self._connection.reply({"type": "ack", "ackId": ack_id, "success": True})

    def _refuse_duplicate(self, ack_id: int | None) -> None:
        if ack_id is not None and self._connection.is_duplicate(ack_id):
            raise RefusedError("Duplicate", f"The message with ackId {ack_id} has been processed already.")

    def _join_group(self, request: _Request) -> None:
        group = self._permitted(request, Permission.JOIN_LEAVE_GROUP)
        self._hub.join(self._connection, group)

    def _leave_group(self, request: _Request) -> None:
        group = self._permitted(request, Permission.JOIN_LEAVE_GROUP)
        self._hub.leave(self._connection, group)

    def _send_to_group(self, request: _Request) -> None:
        group = self._permitted(request, Permission.SEND_TO_GROUP)
        data_type, payload = _content(request)
        message = Message(data_type, payload, group=group, from_user_id=self._connection.user_id)
        excluded = (self._connection.id,) if request.get("noEcho") is True else ()
        self._hub.send(self._hub.group(group), message, excluded=excluded)

    def _send_event(self, request: _Request) -> NoReturn:
        event = request.get("event")
        if not isinstance(event, str) or not event:
            raise ProtocolViolationError("'event' must name the event.")
        _content(request)
        raise RefusedError("InvocationFailed", f"No event handler is registered for the event {event!r}.")

    def _permitted(self, request: _Request, permission: Permission) -> str:
        group = request.get("group")
        if not isinstance(group, str) or not group.strip() or len(group) > _MAX_GROUP_LENGTH:
            raise ProtocolViolationError(f"'group' must be a name of 1 to {_MAX_GROUP_LENGTH} characters.")
        if not self._connection.permissions.allows(permission, group):
            raise RefusedError("Forbidden", f"The client does not have permission {permission} for group {group!r}.")
        return group

    def _acknowledge_sequence(self, request: _Request) -> None:
        sequence_id = request.get("sequenceId")
        if isinstance(sequence_id, bool) or not isinstance(sequence_id, int):
            raise ProtocolViolationError("'sequenceId' must be a whole number.")
        if not isinstance(self._connection, ReliableConnection):
            raise ProtocolViolationError("'sequenceAck' belongs to the reliable subprotocol.")
        self._connection.acknowledge(sequence_id)


def _parse(frame: str | bytes) -> _Request:
    try:
        request = json.loads(frame)
    except ValueError as error:
        raise ProtocolViolationError(f"The message is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise ProtocolViolationError("The message is not a JSON object.")
    return request


def _content(request: _Request) -> tuple[DataType, bytes]:
    if "data" not in request:
        raise ProtocolViolationError("'data' is missing.")
    data = request["data"]
    try:
        data_type = DataType(str(request.get("dataType") or DataType.JSON))
    except ValueError as error:
        raise ProtocolViolationError("'dataType' must be json, text or binary.") from error
    if data_type is DataType.JSON:
        return data_type, json_bytes(data)
    if not isinstance(data, str):
        raise ProtocolViolationError(f"'data' must be a string when 'dataType' is {data_type}.")
    if data_type is DataType.TEXT:
        return data_type, data.encode()
    try:
        return data_type, base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ProtocolViolationError(f"'data' is not base64: {error}.") from error
