-- Purpose: notes when stale periods ended, whether their beginning is known yet or not.
-- Parameter: JSON array of {started_at, ended_at, cause}, each beginning once. Result: number of rows changed.
INSERT INTO stale_periods (started_at, ended_at, cause)
SELECT json_extract(value, '$.started_at'), json_extract(value, '$.ended_at'), json_extract(value, '$.cause')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (started_at) DO UPDATE
SET ended_at = excluded.ended_at;
