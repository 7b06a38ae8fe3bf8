-- Purpose: ends the stale periods that are open and began no later than the given instant.
-- Parameter: JSON object {began_by, ended_at}. Result: number of rows changed.
UPDATE stale_periods
SET ended_at = json_extract(?1, '$.ended_at')
WHERE ended_at IS NULL AND started_at <= json_extract(?1, '$.began_by');
