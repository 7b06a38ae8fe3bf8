"""The `$management` node: properties of a hub and of its partitions.

https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-protocol-guide
"""

from collections.abc import Callable

from .cbs import Grants
from .errors import AmqpLinkError
from .hubs import Hub, Namespace
from .messages import Request
from .nodes import Response
from .values import Array, Int, Timestamp

NODE = "$management"
_HUB = "com.microsoft:eventhub"
_PARTITION = "com.microsoft:partition"


class Management:
    """The `$management` node of one connection. `now_ms` is the clock in milliseconds since 1970."""

    def __init__(self, namespace: Namespace, grants: Grants, now_ms: Callable[[], int]) -> None:
        self._namespace = namespace
        self._grants = grants
        self._now_ms = now_ms

    def respond(self, request: Request) -> Response:
        """Answers `READ` of a hub or a partition."""
        operation, kind, name = (request.properties.get(name) for name in ("operation", "type", "name"))
        if operation != "READ" or kind not in (_HUB, _PARTITION) or not isinstance(name, str):
            return Response(400, f"READ of {_HUB} or {_PARTITION} with a name is expected, not {operation} of {kind}.")
        if not self._grants.allow(f"{name.lower()}/{NODE}"):
            return Response(401, f"Unauthorized access. No valid token covers '{name}'.")
        try:
            hub = self._namespace.hub(name)
            body = _hub(hub) if kind == _HUB else self._partition(hub, str(request.properties.get("partition")))
        except AmqpLinkError as error:
            return Response(404, error.error.description or "not found")
        return Response(200, "OK", body)

    def _partition(self, hub: Hub, partition_id: str) -> dict[str, object]:
        properties = hub.partition(partition_id).properties
        return {
            "name": hub.name,
            "type": _PARTITION,
            "partition": partition_id,
            "begin_sequence_number": properties.begin_sequence_number,
            "last_enqueued_sequence_number": properties.last_sequence_number,
            "last_enqueued_offset": properties.last_offset,
            "last_enqueued_time_utc": Timestamp(properties.last_enqueued_ms),
            "is_partition_empty": properties.is_empty,
            "runtime_info_retrieval_time_utc": Timestamp(self._now_ms()),
        }


def _hub(hub: Hub) -> dict[str, object]:
    return {
        "name": hub.name,
        "type": _HUB,
        "created_at": Timestamp(hub.created_ms),
        "partition_count": Int(len(hub.partitions)),
        "partition_ids": Array(hub.partitions),
    }
