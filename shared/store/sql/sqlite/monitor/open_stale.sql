-- Purpose: notes where stale periods began; one already noted stays as it is.
-- Parameter: JSON array of {started_at, cause}, each instant once. Result: number of rows inserted.
INSERT INTO stale_periods (started_at, cause)
SELECT json_extract(value, '$.started_at'), json_extract(value, '$.cause')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (started_at) DO NOTHING;
