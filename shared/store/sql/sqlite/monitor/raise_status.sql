-- Purpose: moves each facility's state up to a newer version, never down.
-- Parameter: JSON array of {facility_id, version, status, at, reason}, each facility once.
-- Result: number of rows changed.
INSERT INTO facility_status (facility_id, status, since, version, reason)
SELECT
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.status'),
    json_extract(value, '$.at'),
    json_extract(value, '$.version'),
    json_extract(value, '$.reason')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (facility_id) DO UPDATE
SET status = excluded.status, since = excluded.since, version = excluded.version, reason = excluded.reason
WHERE excluded.version > facility_status.version;
