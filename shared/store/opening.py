"""Opens a store by its address: `sqlite:////abs/path`, or an ODBC connection string."""

from collections.abc import Callable
from pathlib import Path

from shared.errors import StoreError
from shared.store.core import SqlCoreStore
from shared.store.database import Database
from shared.store.history import SqlHistoryStore
from shared.store.monitor import SqlMonitorStore
from shared.store.sqlite import SqliteDatabase

_SQLITE = "sqlite:///"


def open_monitor_store(address: str) -> SqlMonitorStore:
    """Returns the store of the private database; connects at first use. Raises ValueError, StoreError."""
    return SqlMonitorStore(open_database(address))


def open_history_store(address: str, now: Callable[[], int]) -> SqlHistoryStore:
    """Returns what the API reads of the private database; connects at first use. Raises ValueError, StoreError."""
    return SqlHistoryStore(open_database(address), now)


def open_core_store(address: str) -> SqlCoreStore:
    """Returns the store of the core database; connects at first use. Raises ValueError, StoreError."""
    return SqlCoreStore(open_database(address))


def open_database(address: str) -> Database:
    """Returns the database at an address. Raises ValueError for a malformed one, StoreError without a driver for it."""
    if address.startswith("sqlite:"):
        path = Path(address.removeprefix(_SQLITE))
        if not address.startswith(_SQLITE) or not path.is_absolute():
            raise ValueError("expected sqlite:////abs/path")
        return SqliteDatabase(path)
    if "=" not in address:
        raise ValueError("expected sqlite:////abs/path or an ODBC connection string")
    try:
        # Only here: SQLite must work on machines without an ODBC library.
        from shared.store.sqlserver import SqlServerDatabase  # noqa: PLC0415
    except ImportError as error:
        raise StoreError(f"SQL Server needs pyodbc and an ODBC driver manager (Debian: unixodbc): {error}") from error
    return SqlServerDatabase(address)
