-- Purpose: ends the stale periods that are open and began no later than the given instant.
-- Parameter: JSON object {ended_at}. Result: one row, the number of rows changed.
DECLARE @ended_at datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(?, '$.ended_at'), 23), 126);

UPDATE stale_periods
SET ended_at = @ended_at
WHERE ended_at IS NULL AND started_at <= @ended_at;
SELECT @@ROWCOUNT AS changed;
