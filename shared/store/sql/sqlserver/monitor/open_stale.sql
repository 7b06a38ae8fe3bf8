-- Purpose: notes where stale periods began; one already noted stays as it is.
-- Parameter: JSON array of {started_at, cause}, each instant once. Result: one row, the number of rows inserted.
DECLARE @rows nvarchar(max) = ?;

INSERT INTO stale_periods (started_at, cause)
SELECT CONVERT(datetime2(3), LEFT(i.started_at, 23), 126), i.cause
FROM OPENJSON(@rows) WITH (started_at varchar(24) '$.started_at', cause varchar(64) '$.cause') AS i
WHERE NOT EXISTS (
    SELECT 1 FROM stale_periods AS p WHERE p.started_at = CONVERT(datetime2(3), LEFT(i.started_at, 23), 126)
);
SELECT @@ROWCOUNT AS changed;
