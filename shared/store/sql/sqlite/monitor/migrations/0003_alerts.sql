-- Purpose: what was announced last of a facility that stayed offline, so that a loss of Redis data repeats no alert.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- Read as a whole, after such a loss alone: the key is all the order it needs. At most two rows a facility.
CREATE TABLE facility_alerts (
    facility_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('offline', 'recovered')),
    since TEXT NOT NULL,
    announced_at TEXT NOT NULL,
    PRIMARY KEY (facility_id, state)
) WITHOUT ROWID;
