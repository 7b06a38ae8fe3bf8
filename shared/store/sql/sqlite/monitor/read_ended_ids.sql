-- Purpose: the ended session ids still in force.
-- Parameter: JSON object {now}. Result: rows of (user_id, session_id, until_at).
SELECT user_id, session_id, until_at
FROM ended_sessions
WHERE until_at > json_extract(?1, '$.now');
