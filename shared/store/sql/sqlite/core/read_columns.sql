-- Purpose: the columns of the directory's tables, whoever made them; views count as tables.
-- Parameters: none. Result: rows of (table, column), in lower case.
SELECT lower(t.name), lower(c.name)
FROM sqlite_master AS t
INNER JOIN pragma_table_info(t.name) AS c
WHERE t.type IN ('table', 'view')
    AND lower(t.name) IN ('regions', 'counties', 'facilities', 'users', 'facility_users');
