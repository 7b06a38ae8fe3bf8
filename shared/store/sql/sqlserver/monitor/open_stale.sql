-- Purpose: notes where stale periods began, and why; one already noted keeps its end.
-- Parameter: JSON array of {started_at, cause}, each instant once. Result: one row, the number of rows changed.
-- What ended a later period has ended this one, should nothing else say when.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #begun (
    started_at datetime2(3) NOT NULL PRIMARY KEY,
    cause varchar(64) NOT NULL
);
INSERT INTO #begun (started_at, cause)
SELECT CONVERT(datetime2(3), LEFT(started_at, 23), 126), cause
FROM OPENJSON(@rows) WITH (started_at varchar(24) '$.started_at', cause varchar(64) '$.cause');

UPDATE p
SET cause = b.cause
FROM stale_periods AS p
INNER JOIN #begun AS b ON b.started_at = p.started_at;
SET @changed = @@ROWCOUNT;

INSERT INTO stale_periods (started_at, ended_at, cause)
SELECT b.started_at, (SELECT MIN(l.ended_at) FROM stale_periods AS l WHERE l.started_at > b.started_at), b.cause
FROM #begun AS b
WHERE NOT EXISTS (SELECT 1 FROM stale_periods AS p WHERE p.started_at = b.started_at);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #begun;
SELECT @changed AS changed;
