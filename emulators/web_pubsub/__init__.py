"""A local Azure Web PubSub: the data-plane REST API (2024-12-01) and the client WebSocket protocols, for any hub.

Microsoft's own SDKs talk to it unchanged, with `Endpoint=http://127.0.0.1:PORT;AccessKey=KEY;Version=1.0;`.
State lives in memory. Not emulated: event handlers (upstream), MQTT, Socket.IO, protobuf subprotocols, and the
expiry of messages by `messageTtlSeconds`, which is validated only.
"""
