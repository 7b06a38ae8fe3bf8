-- Purpose: how long a facility was online in each of the given spans; the state before a span counts in it.
-- Parameter: JSON object {facility_id, start, end, spans: [{start, end}]}: start is the earliest of the spans' starts,
--            end the latest of their ends, up to which the newest state lasts.
-- Result: rows of (start of the span as ISO 8601 text in UTC, milliseconds online), none for a span without any.
-- A departure from a region is no state of the facility.
-- facility_status_history_by_time finds both the transitions and the one in force at the start.
DECLARE @order nvarchar(max) = ?;
DECLARE @facility varchar(64) = JSON_VALUE(@order, '$.facility_id');
DECLARE @start datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.start'), 23), 126);
DECLARE @end datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.end'), 23), 126);
DECLARE @known datetime2(3) = (
    SELECT MAX(at)
    FROM facility_status_history
    WHERE facility_id = @facility AND status <> 'removed' AND at <= @start
);

WITH
spans AS (
    SELECT
        CONVERT(datetime2(3), LEFT(start_text, 23), 126) AS start_at,
        CONVERT(datetime2(3), LEFT(end_text, 23), 126) AS end_at
    FROM OPENJSON(@order, '$.spans') WITH (start_text varchar(24) '$.start', end_text varchar(24) '$.end')
),
states AS (
    SELECT status, at AS start_at, LEAD(at, 1, @end) OVER (ORDER BY version) AS end_at
    FROM facility_status_history
    WHERE facility_id = @facility
        AND status <> 'removed'
        AND at < @end
        AND at >= COALESCE(@known, @start)
)
SELECT
    CONVERT(varchar(23), s.start_at, 126),
    SUM(DATEDIFF_BIG(
        millisecond,
        CASE WHEN o.start_at > s.start_at THEN o.start_at ELSE s.start_at END,
        CASE WHEN o.end_at < s.end_at THEN o.end_at ELSE s.end_at END
    ))
FROM spans AS s
INNER JOIN states AS o
    ON o.status = 'online'
    AND o.start_at < s.end_at
    AND o.end_at > s.start_at
    AND o.end_at > o.start_at
GROUP BY s.start_at;
