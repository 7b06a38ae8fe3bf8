"""What only a file can do: be locked, broken, read-only, absent."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.domain.directory import Directory, Region
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.errors import DependencyUnavailableError, StoreError
from shared.store import sqlite
from shared.store.database import Transaction
from shared.store.opening import open_core_store, open_monitor_store

ROOT = Path(__file__).parents[2]
CHANGE = FacilityChange("f-1", FacilityStatus.ONLINE, 1_795_000_000_000, 1, 1, "heartbeat")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "pulse.db"


@pytest.fixture
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Yields another program's connection to a migrated database."""
    store = open_monitor_store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        yield connection


def test_the_file_and_its_directories_are_created(path: Path) -> None:
    store = open_monitor_store(f"sqlite:///{path}")
    assert not path.exists()
    store.migrate()
    assert path.exists()
    store.close()


def test_a_locked_file_is_worth_a_retry_and_free_again_works(path: Path, held: sqlite3.Connection) -> None:
    store = open_monitor_store(f"sqlite:///{path}")
    held.execute("BEGIN IMMEDIATE")
    with pytest.raises(DependencyUnavailableError, match=r"sql is not available: .*pulse\.db: database is locked"):
        store.record_changes([CHANGE])
    assert store.facility_states() == []
    held.execute("ROLLBACK")
    assert store.record_changes([CHANGE]) == 1
    store.close()


def test_readers_do_not_wait_for_a_writer(path: Path, held: sqlite3.Connection) -> None:
    held.execute("BEGIN IMMEDIATE")
    held.execute("INSERT INTO stale_periods VALUES ('2026-01-01T00:00:00.000Z', NULL, 'stall')")
    store = open_monitor_store(f"sqlite:///{path}")
    store.ping()
    assert store.facility_states() == []
    store.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"This is not a database." * 400)
    store = open_monitor_store(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="file is not a database"):
        store.ping()
    path.unlink()
    assert store.migrate() == ["0001_initial", "0002_activity_view", "0003_alerts", "0004_session_log_index"]
    store.close()


def test_a_corrupted_file_is_refused(path: Path) -> None:
    store = open_monitor_store(f"sqlite:///{path}")
    store.migrate()
    store.record_changes([CHANGE])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="malformed"):
        store.facility_states()
    store.close()


def test_a_path_that_cannot_be_opened_is_worth_a_retry(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null/pulse.db")):
        store = open_monitor_store(f"sqlite:///{path}")
        with pytest.raises(DependencyUnavailableError, match="sql is not available"):
            store.ping()
        store.close()


def test_a_read_only_file_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pulse.db")
        store = open_monitor_store(f"sqlite:///{path}")
        store.migrate()
        store.close()
        path.chmod(0o444)
        Path(folder).chmod(0o777)
        with as_somebody_else():
            assert store.facility_states() == []
            with pytest.raises(StoreError, match="readonly"):
                store.record_changes([CHANGE])
            store.close()


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write to any file, so root becomes somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_sqlite_needs_no_odbc() -> None:
    script = """
import sys
from shared.store.opening import open_core_store, open_monitor_store
for store in (open_core_store(sys.argv[1]), open_monitor_store(sys.argv[1])):
    store.migrate()
    store.close()
print("pyodbc" in sys.modules)
"""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-c", script, f"sqlite:///{folder}/pulse.db"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert ran.stdout == "False\n"


def test_the_fingerprint_reads_the_directory_only_after_somebody_wrote(path: Path) -> None:
    store, other = open_core_store(f"sqlite:///{path}"), open_core_store(f"sqlite:///{path}")
    store.migrate()
    read: list[str] = []
    plain = Transaction.read

    def noted(self: Transaction, name: str, *rest: dict[str, object]) -> Iterator[tuple[object, ...]]:
        read.append(name)
        return plain(self, name, *rest)

    with patch.object(Transaction, "read", noted):
        first = store.directory_fingerprint()
        store.update_connectivity([CHANGE])
        assert store.directory_fingerprint() == first
        assert read == ["directory_fingerprint"]
        other.replace_directory(Directory(regions={"r-1": Region("r-1", "North")}))
        read.clear()
        assert store.directory_fingerprint() != first
        assert read == ["directory_fingerprint"]
        assert store.directory_fingerprint() == other.directory_fingerprint()
    store.close()
    other.close()


def test_times_in_the_file_are_iso_texts_with_milliseconds(path: Path, held: sqlite3.Connection) -> None:
    store = open_monitor_store(f"sqlite:///{path}")
    store.record_changes([CHANGE])
    store.close()
    assert held.execute("SELECT since FROM facility_status").fetchall() == [("2026-11-18T11:06:40.000Z",)]
