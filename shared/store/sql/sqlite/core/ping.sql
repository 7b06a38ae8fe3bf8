-- Purpose: one answer that needs the file, not only the library.
-- Parameters: none. Result: one row.
SELECT count(*) FROM sqlite_master;
