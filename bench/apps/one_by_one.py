"""The function app with packing switched off: every heartbeat is an event of its own. For `bench.packing`."""

from unittest.mock import patch

from function_app import app
from shared.events.publisher import HeartbeatPublisher, _Entry

__all__ = ["app"]


def _take_one(self: HeartbeatPublisher) -> list[_Entry]:
    while self._pending:
        entry = self._pending.popleft()
        self._pending_bytes -= entry.size
        if not entry.stamped.done():
            return [entry]
    return []


patch.object(HeartbeatPublisher, "_take", _take_one).start()
