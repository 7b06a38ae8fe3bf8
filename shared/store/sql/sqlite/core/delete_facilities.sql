-- Purpose: deletes facilities.
-- Parameter: JSON array of {facility_id}. Result: number of rows deleted.
DELETE FROM facilities
WHERE facility_id IN (SELECT json_extract(value, '$.facility_id') FROM json_each(?1));
