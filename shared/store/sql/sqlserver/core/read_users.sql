-- Purpose: all users as stored.
-- Parameters: none. Result: rows of (user_id, name).
SELECT CONVERT(nvarchar(128), user_id), COALESCE(name, N'')
FROM users;
