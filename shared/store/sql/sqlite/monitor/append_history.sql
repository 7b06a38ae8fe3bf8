-- Purpose: appends transitions; one already recorded stays as it is.
-- Parameter: JSON array of {facility_id, version, status, at, reason}, each key once. Result: number of rows inserted.
INSERT INTO facility_status_history (facility_id, version, status, at, reason)
SELECT
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.version'),
    json_extract(value, '$.status'),
    json_extract(value, '$.at'),
    json_extract(value, '$.reason')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (facility_id, version) DO NOTHING;
