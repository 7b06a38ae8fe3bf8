"""SQLite, the embedded default: one file, safe for several processes at once."""

import itertools
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from shared.errors import DependencyUnavailableError, PulseError, StoreError
from shared.store.database import Database, Row, Session

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction."""

_session_numbers = itertools.count(1)

# Primary result codes (sqlite.org/rescode.html) after which the same call may succeed later.
_TEMPORARY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class SqliteDatabase(Database):
    """The database in one file, which is created with its parent directory where absent."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def connect(self) -> Session:
        """Opens the file in write-ahead mode, so that readers and a writer do not wait for each other."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Used under the owner's lock by whichever thread calls. Transactions are opened by hand: the driver's own
        # would start only at the first write and then fail instead of waiting when another process wrote meanwhile.
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, autocommit=True, check_same_thread=False)
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return SqliteSession(connection)

    def translate(self, error: Exception) -> PulseError | None:
        """Tells a file that is busy or out of reach from one that is broken or refuses the statement."""
        if isinstance(error, OSError):
            return DependencyUnavailableError("sql", f"{self._path}: {error}")
        if not isinstance(error, sqlite3.Error):
            return None
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _TEMPORARY:
            return DependencyUnavailableError("sql", f"{self._path}: {error}")
        return StoreError(f"{self._path}: {error}")


class SqliteSession:
    """A connection to the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._number = next(_session_numbers)

    def begin(self, *, writing: bool) -> None:
        """Opens a snapshot, or takes the file's one write lock, waiting for it."""
        self._connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")

    def commit(self) -> None:
        """Commits."""
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Closes the connection, which rolls back an open transaction."""
        self._connection.close()

    def script(self, sql: str) -> None:
        """Runs several statements inside the open transaction."""
        self._connection.executescript(sql)

    def query(self, sql: str, document: str | None) -> Iterator[Row]:
        """Yields rows as the file delivers them."""
        return self._connection.execute(sql, () if document is None else (document,))

    def change(self, sql: str, document: str) -> int:
        """Runs one writing statement."""
        return self._connection.execute(sql, (document,)).rowcount

    def change_marker(self) -> str | None:
        """Returns a text that differs once another connection, of any process, has committed to the file."""
        # data_version (sqlite.org/pragma.html#pragma_data_version) compares within one connection only.
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return f"{self._number}-{version}"


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Changing the mode needs the file alone and does not wait by itself as other statements do.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
