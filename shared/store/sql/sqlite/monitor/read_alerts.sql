-- Purpose: what was announced last of each facility that ever stayed offline.
-- Parameters: none. Result: rows of (facility_id, state, since, announced_at).
SELECT facility_id, state, since, announced_at FROM facility_alerts;
