-- Purpose: the columns of the directory's tables, whoever made them; views count as tables.
-- Parameters: none. Result: rows of (table, column), in lower case.
SELECT LOWER(TABLE_NAME), LOWER(COLUMN_NAME)
FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = SCHEMA_NAME()
    AND LOWER(TABLE_NAME) IN ('regions', 'counties', 'facilities', 'users', 'facility_users');
