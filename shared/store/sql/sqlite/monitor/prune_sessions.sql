-- Purpose: deletes the sessions that ended first.
-- Parameter: JSON object {before, limit}. Result: number of rows deleted.
DELETE FROM session_log
WHERE (user_id, session_id, facility_id, started_at) IN (
    SELECT user_id, session_id, facility_id, started_at
    FROM session_log
    WHERE ended_at < json_extract(?1, '$.before')
    ORDER BY ended_at
    LIMIT json_extract(?1, '$.limit')
);
