"""What a connection may do: the `role` claims of its token, and what REST grants and revokes later."""

import re
from collections.abc import Iterable
from enum import StrEnum

_ROLE = re.compile(r"webpubsub\.(joinLeaveGroup|sendToGroup)(s?)(?:\.(.+))?", re.DOTALL)
_MAX_STARS = 5
_PATTERN_TOKEN = re.compile(r"\\([\\*?])|(\*\*)|(\*)|(\?)|(.)", re.DOTALL)


class Permission(StrEnum):
    """The actions that Web PubSub knows permissions for."""

    JOIN_LEAVE_GROUP = "joinLeaveGroup"
    SEND_TO_GROUP = "sendToGroup"


class Permissions:
    """The permissions of one connection; without any, a client may only send events."""

    def __init__(self, roles: Iterable[str] = ()) -> None:
        self._everywhere: set[Permission] = set()
        self._groups: set[tuple[Permission, str]] = set()
        self._patterns: list[tuple[Permission, re.Pattern[str]]] = []
        for role in roles:
            self._add(role)

    def allows(self, permission: Permission, group: str | None) -> bool:
        """Whether the connection may do this with this group, or with every group when it is None."""
        if permission in self._everywhere or group is None:
            return permission in self._everywhere
        return (permission, group) in self._groups or any(
            held == permission and pattern.fullmatch(group) for held, pattern in self._patterns
        )

    def grant(self, permission: Permission, group: str | None) -> None:
        """Grants for one group, or for all when `group` is None."""
        if group is None:
            self._everywhere.add(permission)
        else:
            self._groups.add((permission, group))

    def revoke(self, permission: Permission, group: str | None) -> None:
        """Takes back what was granted with the same arguments."""
        if group is None:
            self._everywhere.discard(permission)
        else:
            self._groups.discard((permission, group))

    def _add(self, role: str) -> None:
        match = _ROLE.fullmatch(role)
        if match is None:
            return
        permission, plural, target = Permission(match[1]), bool(match[2]), match[3]
        if not plural:
            self.grant(permission, target)
        elif target is not None and target.count("*") <= _MAX_STARS:
            self._patterns.append((permission, compile_pattern(target)))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A wildcard group pattern as a regular expression.

    `?` is one character and `*` any number of them, neither crossing a `.`; `**` crosses; a backslash escapes
    (Microsoft Learn, "Use wildcard group role patterns").
    """
    parts = []
    for token in _PATTERN_TOKEN.finditer(pattern):
        escaped, double_star, star, question, other = token.groups()
        if double_star:
            parts.append(".*")
        elif star:
            parts.append(r"[^.]*")
        elif question:
            parts.append(r"[^.]")
        else:
            parts.append(re.escape(escaped or other))
    return re.compile("".join(parts), re.DOTALL)
