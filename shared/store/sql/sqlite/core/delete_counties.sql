-- Purpose: deletes counties.
-- Parameter: JSON array of {county_id}. Result: number of rows deleted.
DELETE FROM counties
WHERE county_id IN (SELECT json_extract(value, '$.county_id') FROM json_each(?1));
