"""Addresses of nodes: what a link is attached to, and what an access token covers."""

import re
from typing import NamedTuple

_SCHEME_AND_HOST = re.compile(r"^[a-z]+://[^/]*", re.IGNORECASE)


class Producer(NamedTuple):
    """A hub, or one partition of it, to send to."""

    hub: str
    partition: str | None


class Consumer(NamedTuple):
    """A partition of a hub to read on behalf of a consumer group."""

    hub: str
    group: str
    partition: str


def path_of(address: str) -> str:
    """The path of an address in lower case, without scheme, host and outer slashes; entity names ignore case."""
    return _SCHEME_AND_HOST.sub("", address).strip("/").lower()


def covers(granted: str, path: str) -> bool:
    """Whether access to the path `granted` includes `path`; an empty one is the whole namespace."""
    return not granted or path == granted or path.startswith(granted + "/")


def parse_producer(path: str) -> Producer | None:
    """Reads `hub` or `hub/partitions/N`."""
    match path.split("/"):
        case [hub] if hub:
            return Producer(hub, None)
        case [hub, "partitions", partition]:
            return Producer(hub, partition)
    return None


def parse_consumer(path: str) -> Consumer | None:
    """Reads `hub/consumergroups/G/partitions/N`."""
    match path.split("/"):
        case [hub, "consumergroups", group, "partitions", partition]:
            return Consumer(hub, group, partition)
    return None
