"""Databases for the store tests: a SQLite file always, a SQL Server database where TEST_SQL_SERVER names a server."""

import os
import re
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SERVER = os.environ.get("TEST_SQL_SERVER", "")

DIALECTS = (
    "sqlite",
    pytest.param(
        "sqlserver",
        marks=pytest.mark.skipif(
            not SERVER,
            reason="no SQL Server given: TEST_SQL_SERVER='Driver=…;Server=…;UID=…;PWD=…' make test-sqlserver",
        ),
    ),
)

# Every table after those that refer to it.
_TABLES = (
    *("facility_users", "users", "facilities", "counties", "regions"),
    *("facility_status", "facility_status_history", "session_log", "facility_activity"),
    *("stale_periods", "ended_sessions", "schema_migrations"),
)


@contextmanager
def databases(dialect: str, folder: Path) -> Iterator["Databases"]:
    """Yields a maker of empty databases; drops what it created."""
    if dialect == "sqlite":
        yield Databases(folder, None)
        return
    name = f"facility_pulse_{uuid.uuid4().hex[:12]}"
    _on_server(SERVER, f"CREATE DATABASE {name}")
    try:
        yield Databases(folder, re.sub(r"(?i);?\s*(database|initial catalog)=[^;]*", "", SERVER) + f";Database={name}")
    finally:
        _on_server(SERVER, f"DROP DATABASE {name}")


class Databases:
    """Hands out addresses of empty databases."""

    def __init__(self, folder: Path, server_address: str | None) -> None:
        self._folder = folder
        self._server_address = server_address

    def empty(self) -> str:
        """Returns the address of a database without tables; on a server the same one, emptied."""
        if self._server_address is None:
            return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"
        for table in _TABLES:
            _on_server(self._server_address, f"DROP TABLE IF EXISTS {table}")
        return self._server_address


def execute(address: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Runs one statement past the stores, as somebody else's program would; returns its rows."""
    if not address.startswith("sqlite:///"):
        return _on_server(address, sql, parameters)
    with closing(sqlite3.connect(address.removeprefix("sqlite:///"), autocommit=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


@cache
def _connection(address: str) -> Any:  # noqa: ANN401 - pyodbc comes without types
    import pyodbc

    pyodbc.pooling = False
    return pyodbc.connect(address, autocommit=True)


def _on_server(address: str, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    with closing(_connection(address).cursor()) as cursor:
        cursor.execute(sql, *parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
