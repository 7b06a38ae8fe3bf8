"""Applies the private database's numbered migrations.

They are recorded in `schema_migrations`. The core database keeps no such record: it is the customer's own, whose
tooling may have a table of that name, and the presence of its tables says all that is needed. So both roles may share
one database.
"""

from collections.abc import Callable

from shared.domain.instants import to_iso
from shared.errors import StoreError
from shared.store.database import Database, Transaction
from shared.store.statements import migrations


def apply_missing(database: Database, role: str, now: Callable[[], int]) -> list[str]:
    """Applies what the database lacks, each migration in a transaction of its own; returns the names applied.

    Raises StoreError if the database has a migration that this code does not.
    """
    known = migrations(database.dialect, role)

    def apply_next(transaction: Transaction) -> str | None:
        transaction.run("create_ledger")
        recorded = {str(name) for (name,) in transaction.read("read_ledger")}
        if unknown := sorted(recorded - known.keys()):
            raise StoreError(
                f"the {role} database has the migrations {', '.join(unknown)}, which this version does not know; "
                "run the version that applied them, or a newer one"
            )
        pending = next((name for name in known if name not in recorded), None)
        if pending is not None:
            transaction.script(known[pending])
            transaction.write("record_migration", [{"name": pending, "applied_at": to_iso(now())}])
        return pending

    applied = []
    while name := database.run(role, apply_next, writing=True):
        applied.append(name)
    return applied
