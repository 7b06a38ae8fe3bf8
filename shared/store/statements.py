"""The SQL texts of a dialect and a role, read from the `.sql` files beside this module."""

import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_MIGRATION = re.compile(r"(\d{4}_\w+)\.sql")


def _folder(dialect: str, folder: str) -> Traversable:
    return files("shared.store").joinpath("sql", dialect, folder)


@cache
def statement(dialect: str, folder: str, name: str) -> str:
    """Returns the text of `sql/<dialect>/<folder>/<name>.sql`. Raises FileNotFoundError."""
    return _folder(dialect, folder).joinpath(f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations(dialect: str, role: str) -> dict[str, str]:
    """Returns the texts of a role's migrations by name, in the order in which they apply."""
    found = {}
    for entry in _folder(dialect, role).joinpath("migrations").iterdir():
        if match := _MIGRATION.fullmatch(entry.name):
            found[match[1]] = entry.read_text(encoding="utf-8")
    return dict(sorted(found.items()))
