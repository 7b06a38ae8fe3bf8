-- Purpose: inserts users, or gives those that exist their new values.
-- Parameter: JSON array of {user_id, name}, each key once. Result: number of rows changed.
INSERT INTO users (user_id, name)
SELECT
    json_extract(value, '$.user_id'),
    json_extract(value, '$.name')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (user_id) DO UPDATE SET name = excluded.name;
