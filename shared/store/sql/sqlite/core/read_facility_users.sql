-- Purpose: all memberships as stored.
-- Parameters: none. Result: rows of (user_id, facility_id), in order of user.
SELECT user_id, facility_id FROM facility_users ORDER BY user_id, facility_id;
