"""One database, whatever its dialect: a connection, a transaction around each piece of work, a bounded retry."""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import batched
from typing import Any, ClassVar, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shared.errors import DependencyUnavailableError, PulseError
from shared.store.statements import statement
from shared.store.threads import StoreThread

type Row = tuple[Any, ...]
type Record = Mapping[str, object]

# Rows in one JSON document: large enough for its statement's cost to vanish, small enough for either parser's memory.
CHUNK = 5_000


class Session(Protocol):
    """An open connection. Every statement takes at most one parameter, a JSON document."""

    def begin(self, *, writing: bool) -> None:
        """Opens a transaction; one for writing shares the database with no other writer of this product."""

    def commit(self) -> None:
        """Makes the transaction's work last."""

    def close(self) -> None:
        """Ends the connection and whatever it has not committed."""

    def script(self, sql: str) -> None:
        """Runs statements that take nothing and return nothing."""

    def query(self, sql: str, document: str | None) -> Iterator[Row]:
        """Yields the rows of a statement."""

    def change(self, sql: str, document: str) -> int:
        """Runs a writing statement; returns the number of rows it changed."""

    def change_marker(self) -> str | None:
        """Returns a text that differs once another connection has written; None where that cannot be told cheaply."""


class Transaction:
    """A role's named statements, inside one open transaction."""

    def __init__(self, session: Session, dialect: str, role: str) -> None:
        self._session = session
        self._dialect = dialect
        self._role = role

    def _text(self, name: str) -> str:
        return statement(self._dialect, self._role, name)

    def read(self, name: str, parameters: Record | None = None) -> Iterator[Row]:
        """Yields the rows of a statement, valid until the transaction ends."""
        return self._session.query(self._text(name), None if parameters is None else _document(parameters))

    def change(self, name: str, parameters: Record) -> int:
        """Runs a writing statement once; returns the number of rows it changed."""
        return self._session.change(self._text(name), _document(parameters))

    def write(self, name: str, rows: Iterable[Record]) -> int:
        """Runs a writing statement over rows, as many at a time as fit; returns the number of rows changed."""
        text = self._text(name)
        return sum(self._session.change(text, _document(chunk)) for chunk in batched(rows, CHUNK, strict=False))

    def run(self, name: str) -> None:
        """Runs a script of the role."""
        self._session.script(self._text(name))

    def script(self, sql: str) -> None:
        """Runs a script given as text."""
        self._session.script(sql)

    def change_marker(self) -> str | None:
        """See `Session.change_marker`."""
        return self._session.change_marker()


class Database(ABC):
    """One connection, opened at first use, used by one thread at a time, thrown away after an error.

    `thread` is where asynchronous code uses it.
    """

    dialect: ClassVar[str]
    attempts: ClassVar[int] = 1

    def __init__(self) -> None:
        self.thread = StoreThread()
        self._lock = threading.Lock()
        self._session: Session | None = None

    @abstractmethod
    def connect(self) -> Session:
        """Opens a connection."""

    @abstractmethod
    def translate(self, error: Exception) -> PulseError | None:
        """Returns the product's error for one raised by the driver, None for any other."""

    def run[T](
        self, role: str, work: Callable[[Transaction], T], *, writing: bool = False, attempts: int | None = None
    ) -> T:
        """Returns what `work` returns from one transaction; repeats it while the database cannot be reached.

        `work` may therefore run more than once, even when its first transaction was committed and only the answer
        was lost. Raises DependencyUnavailableError and StoreError.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(DependencyUnavailableError),
            stop=stop_after_attempt(attempts or self.attempts),
            wait=wait_random_exponential(multiplier=0.25, max=5),
            reraise=True,
        )
        result: T = retrying(self._once, role, work, writing)
        return result

    def _once[T](self, role: str, work: Callable[[Transaction], T], writing: bool) -> T:
        with self._lock:
            try:
                if self._session is None:
                    self._session = self.connect()
                self._session.begin(writing=writing)
                result = work(Transaction(self._session, self.dialect, role))
                self._session.commit()
            except BaseException as error:
                self._discard()
                known = self.translate(error) if isinstance(error, Exception) else None
                if known is None:
                    raise
                raise known from error
            return result

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        self.thread.close()
        with self._lock:
            self._discard()

    def _discard(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        try:
            session.close()
        except Exception as error:
            # A broken connection may fail to close too; what broke it is the error worth reporting.
            if self.translate(error) is None:
                raise


def _document(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
