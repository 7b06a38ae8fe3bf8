-- Purpose: notes where stale periods began, and why; one already noted keeps its end.
-- Parameter: JSON array of {started_at, cause}, each instant once. Result: number of rows changed.
-- What ended a later period has ended this one, should nothing else say when.
INSERT INTO stale_periods (started_at, ended_at, cause)
SELECT
    json_extract(value, '$.started_at'),
    (SELECT MIN(p.ended_at) FROM stale_periods AS p WHERE p.started_at > json_extract(value, '$.started_at')),
    json_extract(value, '$.cause')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (started_at) DO UPDATE
SET cause = excluded.cause;
