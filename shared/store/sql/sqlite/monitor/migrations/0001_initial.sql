-- Purpose: the private database: states, transitions, session log, activity, stale periods, ended session ids.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- Times are ISO 8601 text in UTC with milliseconds and Z, so that text order is time order.

-- The newest state of every facility that has ever been online.
CREATE TABLE facility_status (
    facility_id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('online', 'offline')),
    since TEXT NOT NULL,
    version INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;

-- Every transition, and every departure from a region. The key's order serves the newest-first history of one facility, page by page.
CREATE TABLE facility_status_history (
    facility_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('online', 'offline', 'removed')),
    at TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (facility_id, version)
) WITHOUT ROWID;
-- History between two instants, and the state in force at the first of them.
CREATE INDEX facility_status_history_by_time ON facility_status_history (facility_id, at);
-- Pruning takes the oldest rows of all facilities.
CREATE INDEX facility_status_history_by_age ON facility_status_history (at);

-- One row per session and facility; facility_id is '' for a session that was assigned to none.
CREATE TABLE session_log (
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    facility_id TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('expired', 'left', 'ended')),
    PRIMARY KEY (user_id, session_id, facility_id, started_at)
) WITHOUT ROWID;
-- The sessions of one facility in a span of time.
CREATE INDEX session_log_by_facility ON session_log (facility_id, ended_at);
-- Pruning takes the sessions that ended first.
CREATE INDEX session_log_by_age ON session_log (ended_at);

-- What was counted at a facility in an hour. An hour that is counted in several places one after another (after a loss
-- of Redis data, or when something comes late) has one row for each, told apart by epoch; they add up.
-- revision grows with every count: an older account of the same hour never replaces a newer one.
-- minutes: JSON, [minute of the hour, heartbeats, sessions started, expired, left, ended] for each minute with a count,
-- zeros at the end left out. One row an hour instead of sixty keeps a million sessions' activity writable.
CREATE TABLE facility_activity_hours (
    facility_id TEXT NOT NULL,
    start_at TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    heartbeats INTEGER NOT NULL,
    sessions_started INTEGER NOT NULL,
    sessions_expired INTEGER NOT NULL,
    sessions_left INTEGER NOT NULL,
    sessions_ended INTEGER NOT NULL,
    unique_users INTEGER NOT NULL,
    unique_users_of_day INTEGER NOT NULL,
    minutes TEXT NOT NULL,
    PRIMARY KEY (facility_id, start_at, epoch)
) WITHOUT ROWID;
-- Pruning takes the oldest hours of all facilities.
CREATE INDEX facility_activity_hours_by_age ON facility_activity_hours (start_at);

-- When nobody could be declared offline, and why. ended_at is NULL while it lasts.
CREATE TABLE stale_periods (
    started_at TEXT NOT NULL PRIMARY KEY,
    ended_at TEXT,
    cause TEXT NOT NULL
) WITHOUT ROWID;

-- Sessions ended by command: nothing brings one back before until_at.
CREATE TABLE ended_sessions (
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    until_at TEXT NOT NULL,
    PRIMARY KEY (user_id, session_id)
) WITHOUT ROWID;
-- Both the ids still in force and those to prune are a range of times.
CREATE INDEX ended_sessions_by_end ON ended_sessions (until_at);
