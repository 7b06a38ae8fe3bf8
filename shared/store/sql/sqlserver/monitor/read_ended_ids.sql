-- Purpose: the ended session ids still in force.
-- Parameter: JSON object {now}. Result: rows of (user_id, session_id, until_at), until_at as ISO 8601 text in UTC.
DECLARE @now datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(?, '$.now'), 23), 126);
SELECT user_id, session_id, CONVERT(varchar(23), until_at, 126)
FROM ended_sessions
WHERE until_at > @now;
