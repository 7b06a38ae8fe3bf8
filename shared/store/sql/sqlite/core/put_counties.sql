-- Purpose: inserts counties, or gives those that exist their new values.
-- Parameter: JSON array of {county_id, region_id, name}, each key once. Result: number of rows changed.
INSERT INTO counties (county_id, region_id, name)
SELECT
    json_extract(value, '$.county_id'),
    json_extract(value, '$.region_id'),
    json_extract(value, '$.name')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (county_id) DO UPDATE SET region_id = excluded.region_id, name = excluded.name;
