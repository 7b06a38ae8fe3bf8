-- Purpose: what was announced last of each facility that ever stayed offline.
-- Parameters: none. Result: rows of (facility_id, state, since, announced_at), times as ISO 8601 text in UTC.
SELECT facility_id, state, CONVERT(varchar(23), since, 126), CONVERT(varchar(23), announced_at, 126)
FROM facility_alerts;
