"""What only a server can do: be away, cut a connection, make writers wait."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.domain.facility import FacilityChange, FacilityStatus
from shared.errors import DependencyUnavailableError, StoreError
from shared.store.database import Database, Transaction
from shared.store.monitor import SqlMonitorStore
from shared.store.opening import open_database, open_monitor_store
from shared.store.statements import statement
from tests.integration.store_databases import SERVER_DIALECTS, Databases, databases, execute

CHANGE = FacilityChange("f-1", FacilityStatus.ONLINE, 1_795_000_000_000, 1, 1, "heartbeat")


@pytest.fixture(scope="module", params=SERVER_DIALECTS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    folder: Path = tmp_path_factory.mktemp("stores")
    with databases(request.param, folder) as made:
        yield made


@pytest.fixture
def address(made: Databases) -> str:
    return made.empty()


@pytest.fixture
def database(address: str) -> Iterator[Database]:
    database = open_database(address)
    yield database
    database.close()


def connect(address: str) -> Any:
    import pyodbc  # type: ignore[import-not-found]

    return closing(pyodbc.connect(address, autocommit=True))


def test_a_server_that_is_away_is_worth_a_retry(address: str) -> None:
    elsewhere = re.sub(r"(?i)server=[^;]*", "Server=127.0.0.1,1", address) + ";ConnectRetryCount=0"
    store = open_monitor_store(elsewhere)
    with pytest.raises(DependencyUnavailableError, match="sql is not available"):
        store.ping()


def test_a_wrong_password_is_not(address: str) -> None:
    store = open_monitor_store(re.sub(r"(?i)pwd=[^;]*", "PWD=wrong", address))
    with pytest.raises(StoreError, match=r"(?i)login|password"):
        store.ping()


def test_a_connection_cut_in_the_middle_of_the_work_is_replaced_and_the_work_repeated(
    address: str, database: Database
) -> None:
    store = SqlMonitorStore(database)
    store.migrate()
    sessions: list[int] = []

    def work(transaction: Transaction) -> int:
        # The batches of a role take no ad-hoc query, so the session asks past them for its own number.
        [(number,)] = transaction._session.query("SELECT @@SPID", None)
        sessions.append(number)
        added = transaction.write(
            "append_history",
            [{"facility_id": "f-1", "version": 1, "status": "online", "at": "2026-01-01T00:00:00.000Z", "reason": "x"}],
        )
        if len(sessions) == 1:
            execute(address, f"KILL {number}")
        return added

    assert database.run("monitor", work, writing=True) == 1
    assert len(sessions) == 2
    assert execute(address, "SELECT count(*) FROM facility_status_history") == [(1,)]


def test_a_writer_that_waits_too_long_for_another_is_worth_a_retry(address: str, database: Database) -> None:
    store = SqlMonitorStore(database)
    store.migrate()
    begin = statement("sqlserver", "connection", "begin_writing")
    with connect(address) as holder, connect(address) as waiter:
        holder.cursor().execute(begin)
        with pytest.raises(Exception, match="51222") as caught:
            waiter.cursor().execute(begin.replace("= 30000", "= 200"))
        assert isinstance(database.translate(caught.value), DependencyUnavailableError)
        assert store.facility_states() == []
        holder.cursor().execute("ROLLBACK TRANSACTION")
        assert store.record_changes([CHANGE]) == 1
