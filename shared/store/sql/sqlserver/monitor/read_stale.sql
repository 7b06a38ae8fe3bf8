-- Purpose: the stale periods that overlap a range.
-- Parameter: JSON object {start, end}. Result: rows of (started_at, ended_at), ended_at NULL while it lasts.
-- A handful of rows in all: the key's order is enough.
DECLARE @range nvarchar(max) = ?;
DECLARE @start datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@range, '$.start'), 23), 126);
DECLARE @end datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@range, '$.end'), 23), 126);

SELECT CONVERT(varchar(23), started_at, 126), CONVERT(varchar(23), ended_at, 126)
FROM stale_periods
WHERE started_at < @end AND (ended_at IS NULL OR ended_at > @start)
ORDER BY started_at;
