-- Purpose: deletes the oldest hours of activity.
-- Parameter: JSON object {before, limit}. Result: one row, the number of rows deleted.
DECLARE @order nvarchar(max) = ?;
DECLARE @before datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.before'), 23), 126);
DECLARE @limit int = CONVERT(int, JSON_VALUE(@order, '$.limit'));

DELETE a
FROM facility_activity_hours AS a
INNER JOIN (
    SELECT TOP (@limit) facility_id, start_at, epoch
    FROM facility_activity_hours
    WHERE start_at < @before
    ORDER BY start_at
) AS old ON old.facility_id = a.facility_id AND old.start_at = a.start_at AND old.epoch = a.epoch;
SELECT @@ROWCOUNT AS changed;
