-- Purpose: keeps what was announced last of each facility; an older announcement changes nothing.
-- Parameter: JSON array of {facility_id, state, since, announced_at}, each facility and state once.
-- Result: number of rows changed.
INSERT INTO facility_alerts (facility_id, state, since, announced_at)
SELECT
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.state'),
    json_extract(value, '$.since'),
    json_extract(value, '$.announced_at')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (facility_id, state) DO UPDATE
SET since = excluded.since, announced_at = excluded.announced_at
WHERE excluded.announced_at > facility_alerts.announced_at;
