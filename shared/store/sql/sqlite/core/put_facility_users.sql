-- Purpose: inserts memberships.
-- Parameter: JSON array of {user_id, facility_id}, each key once. Result: number of rows changed.
INSERT INTO facility_users (user_id, facility_id)
SELECT
    json_extract(value, '$.user_id'),
    json_extract(value, '$.facility_id')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (user_id, facility_id) DO NOTHING;
