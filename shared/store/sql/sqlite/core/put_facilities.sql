-- Purpose: inserts facilities, or gives those that exist their new values; a new facility has never been online.
-- Parameter: JSON array of {facility_id, county_id, name}, each key once. Result: number of rows changed.
INSERT INTO facilities (facility_id, county_id, name, connectivity_status, connectivity_since, connectivity_version)
SELECT
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.county_id'),
    json_extract(value, '$.name'),
    'offline',
    NULL,
    0
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (facility_id) DO UPDATE SET county_id = excluded.county_id, name = excluded.name;
