-- Purpose: keeps ids of sessions ended by command; a time once given only moves forward.
-- Parameter: JSON array of {user_id, session_id, until_at}, each key once. Result: number of rows changed.
INSERT INTO ended_sessions (user_id, session_id, until_at)
SELECT
    json_extract(value, '$.user_id'),
    json_extract(value, '$.session_id'),
    json_extract(value, '$.until_at')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (user_id, session_id) DO UPDATE
SET until_at = excluded.until_at
WHERE excluded.until_at > ended_sessions.until_at;
