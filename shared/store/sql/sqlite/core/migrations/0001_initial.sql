-- Purpose: the directory's tables where the core database does not have them; an existing table is left as it is.
-- Parameters: none. Result: none.
-- connectivity_since is ISO 8601 text in UTC with milliseconds and Z.
CREATE TABLE IF NOT EXISTS regions (
    region_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS counties (
    county_id TEXT NOT NULL PRIMARY KEY,
    region_id TEXT NOT NULL REFERENCES regions (region_id),
    name TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS facilities (
    facility_id TEXT NOT NULL PRIMARY KEY,
    county_id TEXT NOT NULL REFERENCES counties (county_id),
    name TEXT NOT NULL,
    connectivity_status TEXT NOT NULL DEFAULT 'offline',
    connectivity_since TEXT,
    connectivity_version INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS users (
    user_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS facility_users (
    user_id TEXT NOT NULL REFERENCES users (user_id),
    facility_id TEXT NOT NULL REFERENCES facilities (facility_id),
    PRIMARY KEY (user_id, facility_id)
) WITHOUT ROWID;
-- Deleting a facility looks for its members; the key starts with the user.
CREATE INDEX IF NOT EXISTS facility_users_by_facility ON facility_users (facility_id);
