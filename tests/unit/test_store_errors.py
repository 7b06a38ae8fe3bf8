"""Which failures are worth a retry, and how often they get one."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import DependencyUnavailableError, PulseError, StoreError
from shared.store.database import Database, Session, Transaction
from shared.store.opening import open_core_store, open_database, open_monitor_store
from shared.store.sqlite import SqliteDatabase


class BrokenError(Exception):
    """What the driver of `Fragile` raises."""


class Link:
    """A connection that fails as often as its database is told to."""

    def __init__(self, owner: "Fragile") -> None:
        self._owner = owner

    def begin(self, *, writing: bool) -> None:
        self._owner.calls.append("begin")

    def commit(self) -> None:
        if self._owner.failures:
            raise self._owner.failures.pop(0)
        self._owner.calls.append("commit")

    def close(self) -> None:
        self._owner.calls.append("close")

    def script(self, sql: str) -> None:
        raise AssertionError(sql)

    def query(self, sql: str, document: str | None) -> Iterator[tuple[Any, ...]]:
        return iter([(sql, document)])

    def change(self, sql: str, document: str) -> int:
        raise AssertionError(sql, document)

    def change_marker(self) -> str | None:
        return None


class Fragile(Database):
    """A database whose next commits fail."""

    dialect = "sqlite"
    attempts = 3

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.calls: list[str] = []

    def connect(self) -> Session:
        self.calls.append("connect")
        return Link(self)

    def translate(self, error: Exception) -> PulseError | None:
        return DependencyUnavailableError("sql") if isinstance(error, BrokenError) else None


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


def work(transaction: Transaction) -> str:
    return str(next(transaction.read("ping"))[0])


def test_work_is_repeated_on_a_new_connection_until_it_succeeds(waits: list[float]) -> None:
    database = Fragile(BrokenError(), BrokenError())
    assert "SELECT" in database.run("monitor", work)
    assert database.calls == ["connect", "begin", "close", "connect", "begin", "close", "connect", "begin", "commit"]
    assert len(waits) == 2
    assert all(0 <= wait <= 1 for wait in waits)


def test_retries_have_an_end() -> None:
    database = Fragile(*[BrokenError()] * 3)
    with pytest.raises(DependencyUnavailableError):
        database.run("monitor", work)
    assert database.calls.count("connect") == 3
    assert "SELECT" in database.run("monitor", work)


def test_a_single_attempt_may_be_asked_for() -> None:
    database = Fragile(BrokenError())
    with pytest.raises(DependencyUnavailableError):
        database.run("monitor", work, attempts=1)
    assert database.calls == ["connect", "begin", "close"]


def test_another_error_is_passed_on_and_the_connection_thrown_away() -> None:
    database = Fragile(KeyError("a bug"))
    with pytest.raises(KeyError, match="a bug"):
        database.run("monitor", work)
    assert database.calls == ["connect", "begin", "close"]


def test_sqlite_tells_a_refusal_from_a_bug(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.db")
    assert isinstance(database.translate(sqlite3.IntegrityError("x")), StoreError)
    assert database.translate(KeyError("x")) is None


def test_a_missing_odbc_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shared.store.sqlserver", raising=False)
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    with pytest.raises(StoreError, match="unixodbc"):
        open_database("Driver=none;Server=localhost")


@pytest.mark.parametrize("address", ["", "sqlite:", "sqlite://host/x.db", "sqlite:///relative.db", "/abs/path.db"])
def test_a_malformed_address_is_refused_with_what_is_expected(address: str) -> None:
    for open_store in (open_core_store, open_monitor_store):
        with pytest.raises(ValueError, match="expected sqlite:////abs/path"):
            open_store(address)
