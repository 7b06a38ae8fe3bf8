"""Hubs: who is connected, in which groups, and how messages reach them."""

import asyncio
import logging
from collections.abc import Collection, Iterable

from emulators.web_pubsub.connections import GOING_AWAY, Connection, ReliableConnection
from emulators.web_pubsub.filters import Predicate
from emulators.web_pubsub.messages import Message

_log = logging.getLogger(__name__)


class Hub:
    """One hub; its connections, users and groups are unknown to any other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._connections: dict[str, Connection] = {}
        self._users: dict[str, dict[str, Connection]] = {}
        self._groups: dict[str, dict[str, Connection]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> Collection[Connection]:
        """Every connection, in order of arrival."""
        return self._connections.values()

    def connection(self, connection_id: str) -> Connection | None:
        """The connection with this id."""
        return self._connections.get(connection_id)

    def user(self, user_id: str) -> Collection[Connection]:
        """A user's connections."""
        return self._users.get(user_id, {}).values()

    def group(self, group: str) -> Collection[Connection]:
        """A group's members, in order of joining."""
        return self._groups.get(group, {}).values()

    def add(self, connection: Connection, groups: Iterable[str] = ()) -> None:
        """Registers a connection and joins it to groups."""
        self._connections[connection.id] = connection
        if connection.user_id is not None:
            self._users.setdefault(connection.user_id, {})[connection.id] = connection
        for group in groups:
            self.join(connection, group)

    def remove(self, connection: Connection) -> None:
        """Forgets a connection; nothing happens when it is unknown."""
        if self._connections.pop(connection.id, None) is None:
            return
        if isinstance(connection, ReliableConnection):
            connection.forget()
        if connection.user_id is not None:
            _discard(self._users, connection.user_id, connection)
        self.leave_all(connection)

    def join(self, connection: Connection, group: str) -> None:
        """Joins a group."""
        connection.groups.add(group)
        self._groups.setdefault(group, {})[connection.id] = connection

    def leave(self, connection: Connection, group: str) -> None:
        """Leaves a group."""
        connection.groups.discard(group)
        _discard(self._groups, group, connection)

    def leave_all(self, connection: Connection) -> None:
        """Leaves every group."""
        for group in tuple(connection.groups):
            self.leave(connection, group)

    def send(
        self,
        targets: Iterable[Connection],
        message: Message,
        *,
        excluded: Collection[str] = (),
        predicate: Predicate | None = None,
    ) -> None:
        """Sends to all targets at once, without giving way: so every connection sees one order of messages.

        A connection that cannot take the message is closed; the others do not notice.
        """
        for connection in tuple(targets):
            if connection.id in excluded or (predicate is not None and not predicate(connection)):
                continue
            if not connection.deliver(message):
                _log.warning("hub %s: connection %s cannot take a message and is closed", self.name, connection.id)
                self.close(connection, "The client does not read or acknowledge its messages fast enough.")

    def close(self, connection: Connection, reason: str, code: int | None = None) -> None:
        """Closes a connection for good; it is unknown from now on, and its close frame follows what waits."""
        self.remove(connection)
        if connection.outbox is None:
            return
        connection.notify_disconnected(reason)
        closing = asyncio.create_task(connection.outbox.close(code or connection.close_code, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def shut_down(self) -> None:
        """Closes every connection with 1001 and returns when the close frames are out."""
        for connection in tuple(self._connections.values()):
            self.close(connection, "The service is stopping.", GOING_AWAY)
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)


class Hubs(dict[str, Hub]):
    """All hubs by name; any hub exists from its first use."""

    def __missing__(self, name: str) -> Hub:
        return self.setdefault(name, Hub(name))


def _discard(index: dict[str, dict[str, Connection]], key: str, connection: Connection) -> None:
    members = index.get(key)
    if members is not None:
        members.pop(connection.id, None)
        if not members:
            del index[key]
