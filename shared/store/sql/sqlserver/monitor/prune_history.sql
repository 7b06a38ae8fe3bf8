-- Purpose: deletes the oldest transitions, but none that is still in force at the given instant.
-- Parameter: JSON object {before, limit}. Result: one row, the number of rows deleted.
DECLARE @order nvarchar(max) = ?;
DECLARE @before datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.before'), 23), 126);
DECLARE @limit int = CONVERT(int, JSON_VALUE(@order, '$.limit'));

DELETE h
FROM facility_status_history AS h
INNER JOIN (
    SELECT TOP (@limit) o.facility_id, o.version
    FROM facility_status_history AS o
    WHERE o.at < @before
        AND EXISTS (
            SELECT 1
            FROM facility_status_history AS n
            WHERE n.facility_id = o.facility_id AND n.version > o.version AND n.at <= @before
        )
    ORDER BY o.at
) AS old ON old.facility_id = h.facility_id AND old.version = h.version;
SELECT @@ROWCOUNT AS changed;
