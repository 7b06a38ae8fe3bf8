"""Which of SQL Server's failures are worth a retry."""

from typing import Any

import pytest

from shared.errors import DependencyUnavailableError, StoreError
from shared.store.database import Database
from shared.store.opening import open_database

pyodbc: Any = pytest.importorskip(
    "pyodbc", reason="needs an ODBC driver manager (Debian: unixodbc)", exc_type=ImportError
)


def server() -> Database:
    return open_database("Driver=none;Server=localhost")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("40001", "Transaction was deadlocked on lock resources (1205) (SQLExecDirectW)"),
        ("42000", "Could not allocate space because the 'PRIMARY' filegroup is full. (1105) (SQLExecDirectW)"),
        ("42000", "Database 'x' on server 'y' is not currently available. (40613) (SQLDriverConnect)"),
        ("42000", "[SQL Server]Cannot open database requested by the login. (4060) (SQLDriverConnect)"),
        ("42000", "[SQL Server]another writer holds the lock facility-pulse (51222) (SQLExecDirectW)"),
        ("42000", "Resource ID : 1. The request limit for the database is 60 (10928) (SQLExecDirectW)"),
        ("08S01", "[Microsoft][ODBC Driver 18 for SQL Server]Communication link failure (0) (SQLExecDirectW)"),
        (
            "08001",
            "TCP Provider: Error code 0x2749 (10057) (SQLDriverConnect); Login timeout expired (0) (SQLDriverConnect)",
        ),
        ("HYT00", "[Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired (0) (SQLDriverConnect)"),
    ],
)
def test_what_passes_by_itself_is_worth_a_retry(state: str, message: str) -> None:
    error = server().translate(pyodbc.Error(state, f"[{state}] {message}"))
    assert isinstance(error, DependencyUnavailableError)
    assert error.dependency == "sql"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("23000", "Violation of PRIMARY KEY constraint 'pk'. Cannot insert duplicate key (2627) (SQLExecDirectW)"),
        ("28000", "Login failed for user 'x'. (18456) (SQLDriverConnect)"),
        ("42S02", "Invalid object name 'facility_status'. (208) (SQLExecDirectW)"),
        ("01000", "Can't open lib 'ODBC Driver 18 for SQL Server' : file not found (0) (SQLDriverConnect)"),
        ("22001", "String or binary data would be truncated in table '1205' (2628) (SQLExecDirectW)"),
    ],
)
def test_what_would_be_refused_again_is_not(state: str, message: str) -> None:
    error = server().translate(pyodbc.Error(state, f"[{state}] {message}"))
    assert isinstance(error, StoreError)
    assert message in str(error)


def test_a_bug_is_neither() -> None:
    assert server().translate(KeyError("x")) is None


def test_a_token_is_packed_as_the_driver_takes_it() -> None:
    from shared.store.sqlserver import packed_token

    assert packed_token("ab") == b"\x04\x00\x00\x00a\x00b\x00"
