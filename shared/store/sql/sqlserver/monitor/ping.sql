-- Purpose: one answer from the server.
-- Parameters: none. Result: one row.
SELECT 1 AS answer;
