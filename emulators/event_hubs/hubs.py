"""The namespace: its event hubs, their partitions and their consumer groups."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .errors import NOT_FOUND, AmqpLinkError
from .partition import Partition
from .partition_key import partition_index
from .receivers import Receivers
from .segments import SegmentLog

DEFAULT_GROUP = "$Default"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """What hubs are created with; `retention_ms` is how long events are kept, `data_dir` where (None: in memory)."""

    partitions: int = 4
    groups: tuple[str, ...] = ()
    retention_ms: int = 3_600_000
    data_dir: Path | None = None


class DataDirectoryError(Exception):
    """The stored data does not fit the settings; the message says what to do."""


@dataclass(slots=True)
class Hub:
    """An event hub."""

    name: str
    created_ms: int
    partitions: dict[str, Partition]
    receivers: dict[str, defaultdict[str, Receivers]]
    _turn: int = field(default=-1)

    def partition(self, partition_id: str) -> Partition:
        """The partition with an id; raises `AmqpLinkError` (amqp:not-found)."""
        try:
            return self.partitions[partition_id]
        except KeyError:
            raise AmqpLinkError(
                NOT_FOUND,
                f"The messaging entity '{self.name}/Partitions/{partition_id}' could not be found: the partitions are "
                f"0 to {len(self.partitions) - 1}.",
            ) from None

    def receivers_of(self, group: str, partition_id: str) -> Receivers:
        """The receivers of a partition in a consumer group; raises `AmqpLinkError` (amqp:not-found)."""
        try:
            return self.receivers[group.lower()][partition_id]
        except KeyError:
            raise AmqpLinkError(
                NOT_FOUND, f"The messaging entity '{self.name}/ConsumerGroups/{group}' could not be found."
            ) from None

    def route(self, partition_key: str | None) -> Partition:
        """The partition for an event sent to the hub itself: by its key, or each in turn."""
        if partition_key is None:
            self._turn = (self._turn + 1) % len(self.partitions)
            return self.partitions[str(self._turn)]
        return self.partitions[str(partition_index(partition_key, len(self.partitions)))]


class Namespace:
    """The hubs by name, in whatever case a client writes it."""

    def __init__(self, names: Iterable[str], settings: HubSettings, now_ms: Callable[[], int]) -> None:
        self._retention_ms = settings.retention_ms
        self._now_ms = now_ms
        self._hubs = {name.lower(): _open_hub(name, settings, now_ms) for name in names}
        self.expire()

    def hub(self, name: str) -> Hub:
        """The hub with a name; raises `AmqpLinkError` (amqp:not-found)."""
        try:
            return self._hubs[name.lower()]
        except KeyError:
            raise AmqpLinkError(NOT_FOUND, f"The messaging entity '{name}' could not be found.") from None

    def expire(self) -> None:
        """Forgets the events that are older than the retention time."""
        oldest_ms = self._now_ms() - self._retention_ms
        for hub in self._hubs.values():
            for partition in hub.partitions.values():
                partition.expire(oldest_ms)

    def close(self) -> None:
        """Closes all files."""
        for hub in self._hubs.values():
            for partition in hub.partitions.values():
                partition.close()


def _open_hub(name: str, settings: HubSettings, now_ms: Callable[[], int]) -> Hub:
    ids = [str(index) for index in range(settings.partitions)]
    if settings.data_dir is None:
        created_ms = now_ms()
        partitions = {id_: Partition(id_, now_ms) for id_ in ids}
    else:
        directory = settings.data_dir / name.lower()
        created_ms = _remember_hub(directory, settings.partitions, now_ms())
        partitions = {
            id_: Partition(id_, now_ms, SegmentLog(directory / f"partition-{id_}", settings.retention_ms))
            for id_ in ids
        }
    groups = {group.lower(): defaultdict[str, Receivers](Receivers) for group in (DEFAULT_GROUP, *settings.groups)}
    return Hub(name, created_ms, partitions, groups)


def _remember_hub(directory: Path, partitions: int, now_ms: int) -> int:
    """Returns when the hub was first created (ms since 1970); raises `DataDirectoryError` if its shape has changed."""
    path = directory / "hub.json"
    if path.exists():
        stored = json.loads(path.read_text())
        if stored["partitions"] != partitions:
            raise DataDirectoryError(
                f"{directory} holds {stored['partitions']} partitions, not {partitions}: events would move between "
                f"partitions; start with --partitions {stored['partitions']} or with another --data-dir"
            )
        return int(stored["createdMs"])
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"partitions": partitions, "createdMs": now_ms}))
    return now_ms
