-- Purpose: notes when stale periods ended, whether their beginning is known yet or not.
-- Parameter: JSON array of {started_at, ended_at, cause}, each beginning once.
-- Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #ended (
    started_at datetime2(3) NOT NULL PRIMARY KEY,
    ended_at datetime2(3) NOT NULL,
    cause varchar(64) NOT NULL
);
INSERT INTO #ended (started_at, ended_at, cause)
SELECT CONVERT(datetime2(3), LEFT(started_at, 23), 126), CONVERT(datetime2(3), LEFT(ended_at, 23), 126), cause
FROM OPENJSON(@rows) WITH (
    started_at varchar(24) '$.started_at',
    ended_at varchar(24) '$.ended_at',
    cause varchar(64) '$.cause'
);

UPDATE p
SET ended_at = e.ended_at
FROM stale_periods AS p
INNER JOIN #ended AS e ON e.started_at = p.started_at;
SET @changed = @@ROWCOUNT;

INSERT INTO stale_periods (started_at, ended_at, cause)
SELECT e.started_at, e.ended_at, e.cause
FROM #ended AS e
WHERE NOT EXISTS (SELECT 1 FROM stale_periods AS p WHERE p.started_at = e.started_at);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #ended;
SELECT @changed AS changed;
