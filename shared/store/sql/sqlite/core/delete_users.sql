-- Purpose: deletes users.
-- Parameter: JSON array of {user_id}. Result: number of rows deleted.
DELETE FROM users
WHERE user_id IN (SELECT json_extract(value, '$.user_id') FROM json_each(?1));
