"""What goes to clients: WebSocket frames, and messages whose encodings are made once however many receive them."""

import base64
import json
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from aiohttp import WSMsgType


class DataType(StrEnum):
    """How `data` is carried in the JSON subprotocols; the last two as base64."""

    JSON = "json"
    TEXT = "text"
    BINARY = "binary"
    PROTOBUF = "protobuf"


_TEXTUAL = (DataType.JSON, DataType.TEXT)


def frame(opcode: WSMsgType, payload: bytes) -> bytes:
    """One whole, unmasked WebSocket frame (RFC 6455 section 5.2)."""
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def json_bytes(value: object) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_frame(value: object) -> bytes:
    """A text frame that holds `value` as JSON."""
    return frame(WSMsgType.TEXT, json_bytes(value))


@dataclass(frozen=True)
class Message:
    """A message to any number of connections.

    `payload` is what a plain client receives: JSON text as published, UTF-8 text or raw bytes. `group` is set when the
    message was sent to a group, by REST or by a client; `from_user_id` only when a client with a user id sent it.
    """

    data_type: DataType
    payload: bytes
    group: str | None = None
    from_user_id: str | None = None

    @cached_property
    def plain_frame(self) -> bytes:
        """For clients without a subprotocol: the payload itself."""
        return frame(WSMsgType.TEXT if self.data_type in _TEXTUAL else WSMsgType.BINARY, self.payload)

    @cached_property
    def json_frame(self) -> bytes:
        """For `json.webpubsub.azure.v1`."""
        return frame(WSMsgType.TEXT, b"{" + self._members)

    def reliable_frame(self, sequence_id: int) -> bytes:
        """For `json.reliable.webpubsub.azure.v1`, where each connection numbers what it receives."""
        return frame(WSMsgType.TEXT, b'{"sequenceId":%d,' % sequence_id + self._members)

    @cached_property
    def _members(self) -> bytes:
        head: dict[str, str] = {"type": "message", "from": "server" if self.group is None else "group"}
        if self.from_user_id is not None:
            head["fromUserId"] = self.from_user_id
        if self.group is not None:
            head["group"] = self.group
        head["dataType"] = self.data_type
        return json_bytes(head)[1:-1] + b',"data":' + self._data + b"}"

    @property
    def _data(self) -> bytes:
        match self.data_type:
            case DataType.JSON:
                return self.payload
            case DataType.TEXT:
                return json_bytes(self.payload.decode())
            case DataType.BINARY | DataType.PROTOBUF:
                return b'"' + base64.b64encode(self.payload) + b'"'
