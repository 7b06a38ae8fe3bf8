"""The state that the hosts of one application share: what AzureWebJobsStorage is in Azure, in a SQLite file."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ownerships (
    hub TEXT, consumer_group TEXT, partition_id TEXT,
    owner TEXT NOT NULL, etag TEXT NOT NULL, modified_at REAL NOT NULL,
    PRIMARY KEY (hub, consumer_group, partition_id));
CREATE TABLE IF NOT EXISTS checkpoints (
    hub TEXT, consumer_group TEXT, partition_id TEXT, offset_text TEXT, sequence_number INTEGER,
    PRIMARY KEY (hub, consumer_group, partition_id));
"""
IN_MEMORY = ":memory:"


class SharedStorage:
    """Leases, partition ownership, checkpoints and timer statuses; every change is a compare-and-set.

    Calls run one after another in one thread of their own, so the event loop never waits for the disk.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")
        self._database = self._thread.submit(_open, path).result()

    async def _run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def _transaction[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        # IMMEDIATE takes the write lock first, so no other host can change what was just read.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._database)
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return result

    async def take_lease(self, name: str, owner: str, seconds: float) -> bool:
        """Takes or renews a lease; False while another owner's has not expired."""

        def work(database: sqlite3.Connection) -> bool:
            now = self._clock()
            cursor = database.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET owner = excluded.owner, expires_at = excluded.expires_at"
                " WHERE owner = excluded.owner OR expires_at <= ?",
                (name, owner, now + seconds, now),
            )
            return cursor.rowcount == 1

        return await self._run(work)

    async def release_lease(self, name: str, owner: str) -> None:
        """Gives a lease up if it is still this owner's."""
        await self._run(
            lambda database: database.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))
        )

    async def read_document(self, name: str) -> str | None:
        """The text last written under this name."""
        row = await self._run(
            lambda database: database.execute("SELECT body FROM documents WHERE name = ?", (name,)).fetchone()
        )
        return row[0] if row else None

    async def write_document(self, name: str, body: str) -> None:
        """Writes or replaces the text under this name."""
        await self._run(
            lambda database: database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (name, body))
        )

    async def list_ownerships(self, hub: str, consumer_group: str) -> list[dict[str, Any]]:
        """Who owns which partition, as azure-eventhub's load balancing reads it."""
        rows = await self._run(
            lambda database: database.execute(
                "SELECT partition_id, owner, etag, modified_at FROM ownerships WHERE hub = ? AND consumer_group = ?",
                (hub, consumer_group),
            ).fetchall()
        )
        return [
            {"partition_id": row[0], "owner_id": row[1], "etag": row[2], "last_modified_time": row[3]} for row in rows
        ]

    async def claim_ownerships(
        self, hub: str, consumer_group: str, claims: Iterable[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Claims partitions; returns those whose `etag` nobody had changed meanwhile, with their new one."""

        def work(database: sqlite3.Connection) -> list[dict[str, Any]]:
            claimed = []
            now = self._clock()
            for claim in claims:
                key = (hub, consumer_group, claim["partition_id"])
                etag = uuid.uuid4().hex
                if claim.get("etag"):
                    cursor = database.execute(
                        "UPDATE ownerships SET owner = ?, etag = ?, modified_at = ?"
                        " WHERE hub = ? AND consumer_group = ? AND partition_id = ? AND etag = ?",
                        (claim["owner_id"], etag, now, *key, claim["etag"]),
                    )
                else:
                    cursor = database.execute(
                        "INSERT OR IGNORE INTO ownerships VALUES (?, ?, ?, ?, ?, ?)",
                        (*key, claim["owner_id"], etag, now),
                    )
                if cursor.rowcount == 1:
                    claimed.append({**claim, "etag": etag, "last_modified_time": now})
            return claimed

        return await self._run(work)

    async def list_checkpoints(self, hub: str, consumer_group: str) -> list[dict[str, Any]]:
        """How far each partition has been processed."""
        rows = await self._run(
            lambda database: database.execute(
                "SELECT partition_id, offset_text, sequence_number FROM checkpoints"
                " WHERE hub = ? AND consumer_group = ?",
                (hub, consumer_group),
            ).fetchall()
        )
        return [{"partition_id": row[0], "offset": row[1], "sequence_number": row[2]} for row in rows]

    async def write_checkpoint(
        self, hub: str, consumer_group: str, partition_id: str, offset: str | None, sequence_number: int | None
    ) -> None:
        """Remembers the last event that was processed, unconditionally like a blob's metadata."""
        row = (hub, consumer_group, partition_id, offset, sequence_number)
        await self._run(
            lambda database: database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)", row)
        )

    def close(self) -> None:
        """Closes the file after the calls that are under way."""
        self._thread.submit(self._database.close).result()
        self._thread.shutdown()


def _open(path: str) -> sqlite3.Connection:
    if path != IN_MEMORY:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=10.0, isolation_level=None)
    _switch_to_wal(database)
    # The state outlives the death of a process, which is all that is asked of a local stand-in.
    database.execute("PRAGMA synchronous = OFF")
    database.executescript(_SCHEMA)
    return database


def _switch_to_wal(database: sqlite3.Connection) -> None:
    # Two hosts that create the file at the same moment collide here, and SQLite's busy time-out does not apply.
    for attempt in range(100):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 99:
                raise
            time.sleep(0.05)
