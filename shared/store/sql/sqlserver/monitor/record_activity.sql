-- Purpose: keeps what was counted in an hour of a facility; of two accounts of one epoch the later one stays.
-- Parameter: JSON array of {facility_id, start_at, epoch, revision, heartbeats, sessions_started, sessions_expired,
--            sessions_left, sessions_ended, unique_users, unique_users_of_day, minutes}, each key once; absolute numbers.
-- Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
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
    PRIMARY KEY (facility_id, start_at, epoch)
);
INSERT INTO #incoming (
    facility_id, start_at, epoch, revision, heartbeats, sessions_started, sessions_expired, sessions_left,
    sessions_ended, unique_users, unique_users_of_day, minutes
)
SELECT
    facility_id, CONVERT(datetime2(3), LEFT(start_at, 23), 126), epoch, revision, heartbeats, sessions_started,
    sessions_expired, sessions_left, sessions_ended, unique_users, unique_users_of_day, minutes
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    start_at varchar(24) '$.start_at',
    epoch bigint '$.epoch',
    revision bigint '$.revision',
    heartbeats bigint '$.heartbeats',
    sessions_started bigint '$.sessions_started',
    sessions_expired bigint '$.sessions_expired',
    sessions_left bigint '$.sessions_left',
    sessions_ended bigint '$.sessions_ended',
    unique_users bigint '$.unique_users',
    unique_users_of_day bigint '$.unique_users_of_day',
    minutes varchar(4000) '$.minutes'
);

UPDATE a
SET revision = i.revision,
    heartbeats = i.heartbeats,
    sessions_started = i.sessions_started,
    sessions_expired = i.sessions_expired,
    sessions_left = i.sessions_left,
    sessions_ended = i.sessions_ended,
    unique_users = i.unique_users,
    unique_users_of_day = i.unique_users_of_day,
    minutes = i.minutes
FROM facility_activity_hours AS a
INNER JOIN #incoming AS i
    ON i.facility_id = a.facility_id
    AND i.start_at = a.start_at
    AND i.epoch = a.epoch
WHERE i.revision > a.revision;
SET @changed = @@ROWCOUNT;

INSERT INTO facility_activity_hours (
    facility_id, start_at, epoch, revision, heartbeats, sessions_started, sessions_expired, sessions_left,
    sessions_ended, unique_users, unique_users_of_day, minutes
)
SELECT
    i.facility_id, i.start_at, i.epoch, i.revision, i.heartbeats, i.sessions_started, i.sessions_expired,
    i.sessions_left, i.sessions_ended, i.unique_users, i.unique_users_of_day, i.minutes
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM facility_activity_hours AS a
    WHERE a.facility_id = i.facility_id AND a.start_at = i.start_at AND a.epoch = i.epoch
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
