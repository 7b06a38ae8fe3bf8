-- Purpose: deletes the sessions that ended first.
-- Parameter: JSON object {before, limit}. Result: one row, the number of rows deleted.
DECLARE @order nvarchar(max) = ?;
DECLARE @before datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.before'), 23), 126);
DECLARE @limit int = CONVERT(int, JSON_VALUE(@order, '$.limit'));

DELETE l
FROM session_log AS l
INNER JOIN (
    SELECT TOP (@limit) user_id, session_id, facility_id, started_at
    FROM session_log
    WHERE ended_at < @before
    ORDER BY ended_at
) AS old
    ON old.user_id = l.user_id
    AND old.session_id = l.session_id
    AND old.facility_id = l.facility_id
    AND old.started_at = l.started_at;
SELECT @@ROWCOUNT AS changed;
