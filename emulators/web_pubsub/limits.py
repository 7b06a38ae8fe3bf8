"""The service's documented limits, gathered so that a test can make them small."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds.

    Sources: 1 MB a message (Web PubSub service limits); 1,000 messages or 16 MB unacknowledged, and 30 s to
    recover (client-spec.md sections 1.4 and 3.2). The service does not publish how much it buffers for a slow
    client that has no reliable protocol; 4 MiB is this emulator's own choice.
    """

    message_bytes: int = 1024 * 1024
    send_buffer_bytes: int = 4 * 1024 * 1024
    unacknowledged_messages: int = 1000
    unacknowledged_bytes: int = 16 * 1024 * 1024
    recovery_seconds: float = 30.0
    keep_alive_seconds: float = 30.0
