-- Purpose: a facility's oldest recorded transition, found by the key.
-- Parameter: JSON object {facility_id}. Result: at most one row (version, at), at as ISO 8601 text in UTC.
DECLARE @facility varchar(64) = JSON_VALUE(?, '$.facility_id');

SELECT TOP (1) version, CONVERT(varchar(23), at, 126)
FROM facility_status_history
WHERE facility_id = @facility
ORDER BY version;
