"""How the issuer is set up, and the people who can sign in."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

ADMIN_ROLE: Final = "presence.admin"
_USERS: Final = MappingProxyType({f"u-{number}": f"Demo user {number}" for number in range(1, 9)})


@dataclass(frozen=True, slots=True)
class Settings:
    """`issuer` has no trailing slash; lifetimes in seconds; `users` maps user ids to names, in the order to show."""

    issuer: str
    audience: str = "facility-pulse"
    client_id: str = "facility-pulse-web"
    redirect_uris: tuple[str, ...] = ()
    users: Mapping[str, str] = field(default_factory=lambda: _USERS)
    data_dir: Path | None = None
    access_token_seconds: int = 3600
    code_seconds: int = 60
    refresh_token_seconds: int = 24 * 3600

    def user_name(self, user_id: str) -> str:
        """The user's name, or the id of somebody who is not on the list."""
        return self.users.get(user_id, user_id)


def read_users(path: Path) -> dict[str, str]:
    """User ids and names from a CSV file with the columns `user_id` and `name`.

    Raises OSError when it cannot be read and ValueError when a column is missing or it has no rows.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"user_id", "name"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} must have the columns user_id and name, it has {rows.fieldnames}.")
        users = {row["user_id"]: row["name"] for row in rows}
    if not users:
        raise ValueError(f"{path} has no users.")
    return users
