-- Purpose: the stale periods that overlap a range.
-- Parameter: JSON object {start, end}. Result: rows of (started_at, ended_at), ended_at NULL while it lasts.
-- A handful of rows in all: the key's order is enough.
SELECT started_at, ended_at
FROM stale_periods
WHERE started_at < json_extract(?1, '$.end') AND (ended_at IS NULL OR ended_at > json_extract(?1, '$.start'))
ORDER BY started_at;
