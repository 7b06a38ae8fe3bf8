-- Purpose: deletes regions.
-- Parameter: JSON array of {region_id}. Result: number of rows deleted.
DELETE FROM regions
WHERE region_id IN (SELECT json_extract(value, '$.region_id') FROM json_each(?1));
