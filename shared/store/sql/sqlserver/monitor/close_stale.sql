-- Purpose: ends the stale periods that are open and began no later than the given instant.
-- Parameter: JSON object {began_by, ended_at}. Result: one row, the number of rows changed.
DECLARE @close nvarchar(max) = ?;
DECLARE @began_by datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@close, '$.began_by'), 23), 126);
DECLARE @ended_at datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@close, '$.ended_at'), 23), 126);

UPDATE stale_periods
SET ended_at = @ended_at
WHERE ended_at IS NULL AND started_at <= @began_by;
SELECT @@ROWCOUNT AS changed;
