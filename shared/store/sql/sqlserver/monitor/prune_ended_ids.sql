-- Purpose: deletes ended session ids whose time is over.
-- Parameter: JSON object {now, limit}. Result: one row, the number of rows deleted.
DECLARE @order nvarchar(max) = ?;
DECLARE @now datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.now'), 23), 126);
DECLARE @limit int = CONVERT(int, JSON_VALUE(@order, '$.limit'));

DELETE e
FROM ended_sessions AS e
INNER JOIN (
    SELECT TOP (@limit) user_id, session_id
    FROM ended_sessions
    WHERE until_at <= @now
    ORDER BY until_at
) AS old ON old.user_id = e.user_id AND old.session_id = e.session_id;
SELECT @@ROWCOUNT AS changed;
