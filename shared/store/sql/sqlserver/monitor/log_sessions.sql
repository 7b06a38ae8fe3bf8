-- Purpose: appends ended sessions; one already logged stays as it is.
-- Parameter: JSON array of {user_id, session_id, facility_id, started_at, ended_at, reason}, each key once.
-- Result: one row, the number of rows inserted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    session_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    started_at datetime2(3) NOT NULL,
    ended_at datetime2(3) NOT NULL,
    reason varchar(16) NOT NULL,
    PRIMARY KEY (user_id, session_id, facility_id, started_at)
);
INSERT INTO #incoming (user_id, session_id, facility_id, started_at, ended_at, reason)
SELECT
    user_id,
    session_id,
    facility_id,
    CONVERT(datetime2(3), LEFT(started_at, 23), 126),
    CONVERT(datetime2(3), LEFT(ended_at, 23), 126),
    reason
FROM OPENJSON(@rows) WITH (
    user_id varchar(128) '$.user_id',
    session_id varchar(64) '$.session_id',
    facility_id varchar(64) '$.facility_id',
    started_at varchar(24) '$.started_at',
    ended_at varchar(24) '$.ended_at',
    reason varchar(16) '$.reason'
);

INSERT INTO session_log (user_id, session_id, facility_id, started_at, ended_at, reason)
SELECT i.user_id, i.session_id, i.facility_id, i.started_at, i.ended_at, i.reason
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM session_log AS l
    WHERE l.user_id = i.user_id
        AND l.session_id = i.session_id
        AND l.facility_id = i.facility_id
        AND l.started_at = i.started_at
);
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
