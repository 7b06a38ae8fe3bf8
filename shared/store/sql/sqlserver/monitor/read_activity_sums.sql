-- Purpose: what was counted at several facilities together, by hour, in the hours that begin in a range.
-- Parameter: JSON object {facilities: [facility_id], start, end}.
-- Result: rows of (start_at as ISO 8601 text in UTC, heartbeats, sessions_started, sessions_expired, sessions_left,
--         sessions_ended).
-- The key finds each facility's hours; nothing of other facilities is read.
DECLARE @order nvarchar(max) = ?;
DECLARE @start datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.start'), 23), 126);
DECLARE @end datetime2(3) = CONVERT(datetime2(3), LEFT(JSON_VALUE(@order, '$.end'), 23), 126);

CREATE TABLE #chosen (facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY);
INSERT INTO #chosen (facility_id)
SELECT CONVERT(varchar(64), value) FROM OPENJSON(@order, '$.facilities');

SELECT
    CONVERT(varchar(23), h.start_at, 126), SUM(h.heartbeats), SUM(h.sessions_started), SUM(h.sessions_expired),
    SUM(h.sessions_left), SUM(h.sessions_ended)
FROM #chosen AS c
INNER JOIN facility_activity_hours AS h ON h.facility_id = c.facility_id
WHERE h.start_at >= @start AND h.start_at < @end
GROUP BY h.start_at;

DROP TABLE #chosen;
