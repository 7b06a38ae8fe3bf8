-- Purpose: the hours of one facility that begin in a range.
-- Parameter: JSON object {facility_id, start, end}.
-- Result: rows of (start_at as ISO 8601 text in UTC, epoch, unique_users, unique_users_of_day, minutes).
-- The key finds them.
DECLARE @range nvarchar(max) = ?;
DECLARE @facility varchar(64) = JSON_VALUE(@range, '$.facility_id');
DECLARE @start datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@range, '$.start'), 23), 126);
DECLARE @end datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@range, '$.end'), 23), 126);

SELECT CONVERT(varchar(23), start_at, 126), epoch, unique_users, unique_users_of_day, minutes
FROM facility_activity_hours
WHERE facility_id = @facility AND start_at >= @start AND start_at < @end;
