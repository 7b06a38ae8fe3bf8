-- Purpose: the hours of one facility that begin in a range.
-- Parameter: JSON object {facility_id, start, end}.
-- Result: rows of (start_at, epoch, unique_users, unique_users_of_day, minutes). The key finds them.
SELECT start_at, epoch, unique_users, unique_users_of_day, minutes
FROM facility_activity_hours
WHERE facility_id = json_extract(?1, '$.facility_id')
    AND start_at >= json_extract(?1, '$.start')
    AND start_at < json_extract(?1, '$.end');
