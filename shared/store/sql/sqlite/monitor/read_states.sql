-- Purpose: the newest state of every facility that has ever been online.
-- Parameters: none. Result: rows of (facility_id, status, since, version, reason).
SELECT facility_id, status, since, version, reason FROM facility_status;
