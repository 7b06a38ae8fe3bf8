"""Databases for the store tests: a SQLite file always, a SQL Server database where TEST_SQL_SERVER names a server."""

import os
import re
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

SERVER = os.environ.get("TEST_SQL_SERVER", "")

SERVER_DIALECTS = ("sqlserver",) if SERVER else ()
DIALECTS = ("sqlite", *SERVER_DIALECTS)


@contextmanager
def databases(dialect: str, folder: Path) -> Iterator["Databases"]:
    """Yields a maker of empty databases; drops what it created."""
    if dialect == "sqlite":
        yield Databases(folder, None)
        return
    name = f"facility_pulse_{uuid.uuid4().hex[:12]}"
    _on_server(SERVER, f"CREATE DATABASE {name}")
    address = re.sub(r"(?i);?\s*(database|initial catalog)=[^;]*", "", SERVER) + f";Database={name}"
    try:
        yield Databases(folder, address)
    finally:
        _connection(address).close()
        _drop(name)


def _drop(name: str) -> None:
    # A server may count a connection for a moment after it was closed.
    deadline = time.monotonic() + 10
    while True:
        try:
            _on_server(SERVER, f"DROP DATABASE {name}")
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


class Databases:
    """Hands out addresses of empty databases."""

    def __init__(self, folder: Path, server_address: str | None) -> None:
        self._folder = folder
        self._server_address = server_address

    def empty(self) -> str:
        """Returns the address of a database without tables; on a server the same one, emptied."""
        if self._server_address is None:
            return f"sqlite:///{self._folder / uuid.uuid4().hex}.db"
        # Views first: "VIEW" sorts after "BASE TABLE".
        present = _on_server(
            self._server_address,
            "SELECT TABLE_TYPE, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES ORDER BY TABLE_TYPE DESC",
        )
        for kind, name in present:
            _on_server(self._server_address, f"DROP {kind.removeprefix('BASE ')} {name}")
        return self._server_address


def execute(address: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Runs one statement past the stores, as somebody else's program would; returns its rows."""
    if not address.startswith("sqlite:///"):
        return _on_server(address, sql, parameters)
    with closing(sqlite3.connect(address.removeprefix("sqlite:///"), autocommit=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


def is_babelfish(address: str) -> bool:
    """Returns whether the server is Babelfish, which lacks some of what SQL Server does."""
    return not address.startswith("sqlite") and "Babelfish" in execute(address, "SELECT @@VERSION")[0][0]


@cache
def _connection(address: str) -> Any:
    import pyodbc  # type: ignore[import-not-found]

    pyodbc.pooling = False
    return pyodbc.connect(address, autocommit=True)


def _on_server(address: str, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    with closing(_connection(address).cursor()) as cursor:
        cursor.execute(sql, *parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
