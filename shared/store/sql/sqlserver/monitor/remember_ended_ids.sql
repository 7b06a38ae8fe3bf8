-- Purpose: keeps ids of sessions ended by command; a time once given only moves forward.
-- Parameter: JSON array of {user_id, session_id, until_at}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    session_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    until_at datetime2(3) NOT NULL,
    PRIMARY KEY (user_id, session_id)
);
INSERT INTO #incoming (user_id, session_id, until_at)
SELECT user_id, session_id, CONVERT(datetime2(3), LEFT(until_at, 23), 126)
FROM OPENJSON(@rows) WITH (
    user_id varchar(128) '$.user_id',
    session_id varchar(64) '$.session_id',
    until_at varchar(24) '$.until_at'
);

UPDATE e
SET until_at = i.until_at
FROM ended_sessions AS e
INNER JOIN #incoming AS i ON i.user_id = e.user_id AND i.session_id = e.session_id
WHERE i.until_at > e.until_at;
SET @changed = @@ROWCOUNT;

INSERT INTO ended_sessions (user_id, session_id, until_at)
SELECT i.user_id, i.session_id, i.until_at
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1 FROM ended_sessions AS e WHERE e.user_id = i.user_id AND e.session_id = i.session_id
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
