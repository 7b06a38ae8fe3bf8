-- Purpose: inserts regions, or gives those that exist their new values.
-- Parameter: JSON array of {region_id, name}, each key once. Result: number of rows changed.
INSERT INTO regions (region_id, name)
SELECT
    json_extract(value, '$.region_id'),
    json_extract(value, '$.name')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (region_id) DO UPDATE SET name = excluded.name;
