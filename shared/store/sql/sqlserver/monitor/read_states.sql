-- Purpose: the newest state of every facility that has ever been online.
-- Parameters: none. Result: rows of (facility_id, status, since, version, reason), since as ISO 8601 text in UTC.
SELECT facility_id, status, CONVERT(varchar(23), since, 126), version, reason FROM facility_status;
