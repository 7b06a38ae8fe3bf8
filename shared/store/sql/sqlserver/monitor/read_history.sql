-- Purpose: one page of a facility's transitions between two instants (both included), newest first; where it only
--          left or joined a region, nothing of it is shown.
-- Parameter: JSON object {facility_id, start, end, before, limit}; of those at `end` only versions below `before`.
-- Result: rows of (version, status, at, reason), at as ISO 8601 text in UTC.
-- facility_status_history_by_time serves it: neither later pages nor ranges of long ago read what is newer.
DECLARE @page nvarchar(max) = ?;
DECLARE @facility varchar(64) = JSON_VALUE(@page, '$.facility_id');
DECLARE @start datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@page, '$.start'), 23), 126);
DECLARE @end datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@page, '$.end'), 23), 126);
DECLARE @before bigint = CONVERT(bigint, JSON_VALUE(@page, '$.before'));
DECLARE @limit int = CONVERT(int, JSON_VALUE(@page, '$.limit'));

SELECT TOP (@limit) version, status, CONVERT(varchar(23), at, 126), reason
FROM facility_status_history
WHERE facility_id = @facility
    AND status <> 'removed'
    AND reason <> 'joined'
    AND at >= @start
    AND at <= @end
    AND (at < @end OR version < @before)
ORDER BY facility_status_history.at DESC, version DESC;
