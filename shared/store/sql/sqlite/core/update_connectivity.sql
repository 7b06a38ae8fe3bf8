-- Purpose: writes the newest connectivity of facilities, never an older version.
-- Parameter: JSON array of {facility_id, status, since, version}, each facility once. Result: number of rows changed.
UPDATE facilities
SET connectivity_status = incoming.status,
    connectivity_since = incoming.since,
    connectivity_version = incoming.version
FROM (
    SELECT
        json_extract(value, '$.facility_id') AS facility_id,
        json_extract(value, '$.status') AS status,
        json_extract(value, '$.since') AS since,
        json_extract(value, '$.version') AS version
    FROM json_each(?1)
) AS incoming
WHERE facilities.facility_id = incoming.facility_id
    AND coalesce(facilities.connectivity_version, 0) < incoming.version;
