-- Purpose: the private database: states, transitions, session log, activity, stale periods, ended session ids.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- Times are UTC. Ids are ASCII and case matters in them, whatever the database's collation.

-- The newest state of every facility that has ever been online.
CREATE TABLE facility_status (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    status varchar(7) NOT NULL,
    since datetime2(3) NOT NULL,
    version bigint NOT NULL,
    reason varchar(16) NOT NULL,
    CONSTRAINT pk_facility_status PRIMARY KEY (facility_id),
    CONSTRAINT ck_facility_status CHECK (status IN ('online', 'offline'))
);

-- Every transition, and every departure from a region. The key's order serves the newest-first history of one facility, page by page.
CREATE TABLE facility_status_history (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    version bigint NOT NULL,
    status varchar(7) NOT NULL,
    at datetime2(3) NOT NULL,
    reason varchar(16) NOT NULL,
    CONSTRAINT pk_facility_status_history PRIMARY KEY (facility_id, version),
    CONSTRAINT ck_facility_status_history CHECK (status IN ('online', 'offline', 'removed'))
);
-- History between two instants, and the state in force at the first of them.
CREATE INDEX facility_status_history_by_time ON facility_status_history (facility_id, at);
-- Pruning takes the oldest rows of all facilities.
CREATE INDEX facility_status_history_by_age ON facility_status_history (at);

-- One row per session and facility; facility_id is '' for a session that was assigned to none.
CREATE TABLE session_log (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    session_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    started_at datetime2(3) NOT NULL,
    ended_at datetime2(3) NOT NULL,
    reason varchar(16) NOT NULL,
    CONSTRAINT pk_session_log PRIMARY KEY (user_id, session_id, facility_id, started_at),
    CONSTRAINT ck_session_log CHECK (reason IN ('expired', 'left', 'ended'))
);
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
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    start_at datetime2(3) NOT NULL,
    epoch bigint NOT NULL,
    revision bigint NOT NULL,
    heartbeats bigint NOT NULL,
    sessions_started bigint NOT NULL,
    sessions_expired bigint NOT NULL,
    sessions_left bigint NOT NULL,
    sessions_ended bigint NOT NULL,
    unique_users bigint NOT NULL,
    unique_users_of_day bigint NOT NULL,
    minutes varchar(4000) NOT NULL,
    CONSTRAINT pk_facility_activity_hours PRIMARY KEY (facility_id, start_at, epoch)
);
-- Pruning takes the oldest hours of all facilities.
CREATE INDEX facility_activity_hours_by_age ON facility_activity_hours (start_at);

-- When nobody could be declared offline, and why. ended_at is NULL while it lasts.
CREATE TABLE stale_periods (
    started_at datetime2(3) NOT NULL,
    ended_at datetime2(3) NULL,
    cause varchar(64) NOT NULL,
    CONSTRAINT pk_stale_periods PRIMARY KEY (started_at)
);

-- Sessions ended by command: nothing brings one back before until_at.
CREATE TABLE ended_sessions (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    session_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    until_at datetime2(3) NOT NULL,
    CONSTRAINT pk_ended_sessions PRIMARY KEY (user_id, session_id)
);
-- Both the ids still in force and those to prune are a range of times.
CREATE INDEX ended_sessions_by_end ON ended_sessions (until_at);
