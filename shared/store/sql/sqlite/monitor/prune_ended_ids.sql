-- Purpose: deletes ended session ids whose time is over.
-- Parameter: JSON object {now, limit}. Result: number of rows deleted.
DELETE FROM ended_sessions
WHERE (user_id, session_id) IN (
    SELECT user_id, session_id
    FROM ended_sessions
    WHERE until_at <= json_extract(?1, '$.now')
    ORDER BY until_at
    LIMIT json_extract(?1, '$.limit')
);
