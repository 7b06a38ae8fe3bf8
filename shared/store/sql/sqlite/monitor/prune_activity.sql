-- Purpose: deletes the oldest hours of activity.
-- Parameter: JSON object {before, limit}. Result: number of rows deleted.
DELETE FROM facility_activity_hours
WHERE (facility_id, start_at, epoch) IN (
    SELECT facility_id, start_at, epoch
    FROM facility_activity_hours
    WHERE start_at < json_extract(?1, '$.before')
    ORDER BY start_at
    LIMIT json_extract(?1, '$.limit')
);
