"""How SQLite finds what the API asks for: never by reading a table that grows from end to end.

SQL Server is given the same indexes, statement by statement and migration by migration.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.domain.uptime import Span
from shared.store.core import SqlCoreStore
from shared.store.database import Transaction
from shared.store.history import SqlHistoryStore
from shared.store.opening import open_core_store, open_history_store
from shared.store.ports import HistoryStore
from shared.store.statements import statement

SMALL = {"stale_periods"}
"""A handful of rows in all."""
SPAN = Span(1_795_000_000_000, 1_795_086_400_000)

HISTORY: dict[str, Callable[[SqlHistoryStore], object]] = {
    "transitions": lambda store: store.transitions("f-1", SPAN, before=9, limit=100),
    "known_since": lambda store: store.known_since("f-1"),
    "online_time": lambda store: store.online_time("f-1", [SPAN]),
    "stale_periods": lambda store: store.stale_periods(SPAN),
    "activity": lambda store: store.activity("f-1", SPAN),
    "activity_sums": lambda store: store.activity_sums(["f-1", "f-2"], SPAN),
}
CORE: dict[str, Callable[[SqlCoreStore], object]] = {
    "find_facility": lambda store: store.find_facility("f-1", "u-1"),
    "find_region": lambda store: store.find_region("r-1", "u-1"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans") / "pulse.db"


@pytest.fixture(scope="module")
def history(path: Path) -> Iterator[SqlHistoryStore]:
    store = open_history_store(f"sqlite:///{path}", lambda: SPAN.end)
    store.transitions("f-1", SPAN, before=1, limit=1)
    yield store
    store.close()


@pytest.fixture(scope="module")
def core(path: Path) -> Iterator[SqlCoreStore]:
    store = open_core_store(f"sqlite:///{path}")
    store.find_facility("f-1", "u-1")
    yield store
    store.close()


def test_every_question_of_the_api_is_looked_at() -> None:
    asked = {name for name in vars(HistoryStore) if not name.startswith("_")} - {"close", "thread"}
    assert HISTORY.keys() == asked
    assert CORE.keys() == {name for name in vars(SqlCoreStore) if name.startswith("find_")}


@pytest.mark.parametrize("name", HISTORY)
def test_history_and_activity_scan_no_large_table(history: SqlHistoryStore, path: Path, name: str) -> None:
    [used] = statements_of(lambda: HISTORY[name](history))
    assert scanned(path, "monitor", *used) == set()


@pytest.mark.parametrize("name", CORE)
def test_looking_up_a_place_scans_no_large_table(core: SqlCoreStore, path: Path, name: str) -> None:
    [used] = statements_of(lambda: CORE[name](core))
    assert scanned(path, "core", *used) == set()


def test_a_scan_would_be_noticed(core: SqlCoreStore, path: Path) -> None:
    assert scanned(path, "core", "read_users", None) == {"users"}


def statements_of(work: Callable[[], object]) -> list[tuple[str, object]]:
    """Returns the statements that a call reads by, each with its parameters."""
    used: list[tuple[str, object]] = []
    plain = Transaction.read

    def noted(
        self: Transaction, name: str, parameters: dict[str, object] | None = None
    ) -> Iterator[tuple[object, ...]]:
        used.append((name, parameters))
        return plain(self, name, parameters)

    with patch.object(Transaction, "read", noted):
        work()
    return used


def scanned(path: Path, role: str, name: str, parameters: object) -> set[str]:
    """Returns the tables that a statement reads from end to end, small ones left out (sqlite.org/eqp.html)."""
    sql = statement("sqlite", role, name)
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        arguments = () if parameters is None else (json.dumps(parameters),)
        plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    # The plan names a table by its alias.
    names = {alias or table: table for table, alias in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+AS\s+(\w+))?", sql)}
    read = {found for detail in plan for found in re.findall(r"^SCAN (\w+)", detail)}
    return {names.get(each, each) for each in read} & tables - SMALL
