-- Purpose: all users as stored.
-- Parameters: none. Result: rows of (user_id, name).
SELECT user_id, coalesce(name, '') FROM users;
