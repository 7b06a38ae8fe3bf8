-- Purpose: appends ended sessions; one already logged stays as it is.
-- Parameter: JSON array of {user_id, session_id, facility_id, started_at, ended_at, reason}, each key once.
-- Result: number of rows inserted.
INSERT INTO session_log (user_id, session_id, facility_id, started_at, ended_at, reason)
SELECT
    json_extract(value, '$.user_id'),
    json_extract(value, '$.session_id'),
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.started_at'),
    json_extract(value, '$.ended_at'),
    json_extract(value, '$.reason')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (user_id, session_id, facility_id, started_at) DO NOTHING;
