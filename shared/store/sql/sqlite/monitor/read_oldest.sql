-- Purpose: a facility's oldest recorded transition, found by the key.
-- Parameter: JSON object {facility_id}. Result: at most one row (version, at).
SELECT version, at
FROM facility_status_history
WHERE facility_id = json_extract(?1, '$.facility_id')
ORDER BY version
LIMIT 1;
