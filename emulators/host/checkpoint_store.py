"""The checkpoint store that azure-eventhub balances its partitions by, in the hosts' shared storage."""

from collections.abc import Callable, Iterable
from typing import Any

from azure.eventhub.aio import CheckpointStore

from emulators.host.storage import SharedStorage


class SharedCheckpointStore(CheckpointStore):
    """Implements azure-eventhub's CheckpointStore.

    Each round of balancing begins with `on_round(won)`: whether the round before won partitions.
    """

    def __init__(self, storage: SharedStorage, on_round: Callable[[bool], None]) -> None:
        self._storage = storage
        self._on_round = on_round
        self._owned: set[str] = set()
        self._won = True

    async def list_ownership(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **_: Any
    ) -> Iterable[dict[str, Any]]:
        """All ownerships of the hub for this consumer group."""
        self._on_round(self._won)
        self._won = False
        rows = await self._storage.list_ownerships(_hub(fully_qualified_namespace, eventhub_name), consumer_group)
        return _placed(rows, fully_qualified_namespace, eventhub_name, consumer_group)

    async def claim_ownership(self, ownership_list: Iterable[dict[str, Any]], **_: Any) -> Iterable[dict[str, Any]]:
        """Claims or gives up partitions of one hub; returns those that nobody had changed meanwhile."""
        claims = list(ownership_list)
        if not claims:
            return []
        hub = _hub(claims[0]["fully_qualified_namespace"], claims[0]["eventhub_name"])
        claimed = await self._storage.claim_ownerships(hub, claims[0]["consumer_group"], claims)
        if claims[0]["owner_id"]:
            owned = {claim["partition_id"] for claim in claimed}
            self._won = not owned <= self._owned
            self._owned = owned
        return claimed

    async def update_checkpoint(self, checkpoint: dict[str, Any], **_: Any) -> None:
        """Remembers how far a partition has been processed."""
        await self._storage.write_checkpoint(
            _hub(checkpoint["fully_qualified_namespace"], checkpoint["eventhub_name"]),
            checkpoint["consumer_group"],
            checkpoint["partition_id"],
            checkpoint["offset"],
            checkpoint["sequence_number"],
        )

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **_: Any
    ) -> Iterable[dict[str, Any]]:
        """All checkpoints of the hub for this consumer group."""
        rows = await self._storage.list_checkpoints(_hub(fully_qualified_namespace, eventhub_name), consumer_group)
        return _placed(rows, fully_qualified_namespace, eventhub_name, consumer_group)


def _hub(namespace: str, name: str) -> str:
    return f"{namespace.lower()}/{name.lower()}"


def _placed(rows: Iterable[dict[str, Any]], namespace: str, name: str, group: str) -> list[dict[str, Any]]:
    """The rows as azure-eventhub has them, each saying where it belongs."""
    place = {"fully_qualified_namespace": namespace, "eventhub_name": name, "consumer_group": group}
    return [row | place for row in rows]
