-- Purpose: makes the ledger of migrations where it is absent.
-- Parameters: none. Result: none.
CREATE TABLE IF NOT EXISTS schema_migrations (
    name TEXT NOT NULL PRIMARY KEY,
    applied_at TEXT NOT NULL
) WITHOUT ROWID;
