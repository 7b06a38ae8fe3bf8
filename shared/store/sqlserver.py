"""SQL Server, Azure SQL and what speaks its protocol, through pyodbc. The only module that imports pyodbc."""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import closing

import pyodbc  # type: ignore[import-not-found]  # its stub lacks the py.typed marker

from shared.errors import DependencyUnavailableError, PulseError, StoreError
from shared.store.database import Database, Row, Session
from shared.store.statements import statement

# The driver manager's pool would hand back the very connection that was thrown away for being broken.
pyodbc.pooling = False

LOGIN_TIMEOUT = 15
"""Seconds to wait for a login; a paused serverless database is woken by the first that fails."""
QUERY_TIMEOUT = 120
"""Seconds to wait for one statement."""

# Native errors after which the same call may succeed, from Microsoft's lists for Azure SQL and its drivers' defaults.
_TRANSIENT_ERRORS = frozenset(
    {
        *(20, 64, 233, 10053, 10054, 10060),  # the connection broke
        *(615, 926, 4060, 4221, 40197, 40501, 40540, 40613, 42108, 42109),  # the database is moving or waking
        *(1204, 1205, 1222, 51222),  # out of locks, deadlock victim, lock not granted in time
        *(1101, 1105, 9002, 40544),  # full: the disk, the log, the quota
        *(10928, 10929, 49918, 49919, 49920, 40143),  # over a resource limit
    }
)
# SQLSTATEs without a native number that says more: connection failures, time-outs, serialisation failures.
_TRANSIENT_STATES = re.compile(r"08...|HYT0[01]|40001")
# SQL_COPT_SS_ACCESS_TOKEN of msodbcsql.h: the attribute that holds a Microsoft Entra token.
_ACCESS_TOKEN = 1256
_NATIVE_NUMBER = re.compile(r"\((-?\d+)\) \(SQL\w+\)")


class SqlServerDatabase(Database):
    """The database that an ODBC connection string names.

    `access_token` gives the Microsoft Entra token to sign in with; then the string names no user. The app does not need
    it: its string says `Authentication=ActiveDirectoryMsi`, and the driver fetches the tokens.
    """

    dialect = "sqlserver"
    attempts = 5

    def __init__(self, connection_string: str, access_token: Callable[[], str] | None = None) -> None:
        super().__init__()
        self._access_token = access_token
        defaults = {"ConnectRetryCount": "3", "ConnectRetryInterval": "5"}
        missing = [f"{key}={value}" for key, value in defaults.items() if key.lower() not in connection_string.lower()]
        self._connection_string = ";".join([connection_string.rstrip("; "), *missing])

    def connect(self) -> Session:
        """Logs in."""
        # Transactions are opened by hand: the driver's own would start only at the first statement that reads a table,
        # and the lock that a writer takes needs one before.
        attributes = {_ACCESS_TOKEN: packed_token(self._access_token())} if self._access_token else {}
        connection = pyodbc.connect(
            self._connection_string, timeout=LOGIN_TIMEOUT, autocommit=True, attrs_before=attributes
        )
        connection.timeout = QUERY_TIMEOUT
        session = SqlServerSession(connection)
        session.script(statement(self.dialect, "connection", "open"))
        return session

    def translate(self, error: Exception) -> PulseError | None:
        """Tells what passes by itself from what does not."""
        if not isinstance(error, pyodbc.Error):
            return None
        if is_transient(error):
            return DependencyUnavailableError("sql", _message(error))
        return StoreError(_message(error))


class SqlServerSession:
    """A connection."""

    def __init__(self, connection: pyodbc.Connection) -> None:
        self._connection = connection
        self._writing = False

    def begin(self, *, writing: bool) -> None:
        """Opens a transaction that holds the product's write lock; reading needs none."""
        self._writing = writing
        if writing:
            self.script(statement("sqlserver", "connection", "begin_writing"))

    def commit(self) -> None:
        """Commits what was written."""
        if self._writing:
            self.script(statement("sqlserver", "connection", "commit"))

    def close(self) -> None:
        """Closes the connection, upon which the server rolls back an open transaction."""
        self._connection.close()

    def script(self, sql: str) -> None:
        """Runs a batch."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            _finish(cursor)

    def query(self, sql: str, document: str | None) -> Iterator[Row]:
        """Yields rows as the server sends them."""
        with closing(self._connection.cursor()) as cursor:
            _execute(cursor, sql, document)
            while rows := cursor.fetchmany(10_000):
                yield from (tuple(row) for row in rows)
            _finish(cursor)

    def change(self, sql: str, document: str) -> int:
        """Runs a batch whose answer is one row with the number of rows changed."""
        with closing(self._connection.cursor()) as cursor:
            _execute(cursor, sql, document)
            row = cursor.fetchone()
            _finish(cursor)
        if row is None:
            raise StoreError(f"the batch gave no answer: {sql[:200]}")
        return int(row[0])

    def change_marker(self) -> str | None:
        """Returns None: the server has no counter of commits that every login may read."""
        return None


def packed_token(token: str) -> bytes:
    """Returns a token as the driver takes it: length in bytes, little-endian, and the text in UTF-16."""
    text = token.encode("utf-16-le")
    return struct.pack("<I", len(text)) + text


def is_transient(error: pyodbc.Error) -> bool:
    """Returns whether the same call may succeed later."""
    numbers = {int(number) for number in _NATIVE_NUMBER.findall(_message(error))}
    if numbers & _TRANSIENT_ERRORS:
        return True
    state = str(error.args[0]) if error.args else ""
    return _TRANSIENT_STATES.fullmatch(state) is not None


def _message(error: pyodbc.Error) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__


def _execute(cursor: pyodbc.Cursor, sql: str, document: str | None) -> None:
    if document is None:
        cursor.execute(sql)
        return
    # nvarchar(max) whatever the length: one plan in the server's cache, and no cut at 4,000 characters.
    cursor.setinputsizes([(pyodbc.SQL_WVARCHAR, 0, 0)])
    cursor.execute(sql, document)


def _finish(cursor: pyodbc.Cursor) -> None:
    # An error in a later statement of a batch is raised only when its result is asked for.
    while cursor.nextset():
        pass
