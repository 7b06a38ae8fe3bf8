-- Purpose: deletes memberships.
-- Parameter: JSON array of {user_id, facility_id}. Result: number of rows deleted.
DELETE FROM facility_users
WHERE (user_id, facility_id) IN (
    SELECT json_extract(value, '$.user_id'), json_extract(value, '$.facility_id')
    FROM json_each(?1)
);
