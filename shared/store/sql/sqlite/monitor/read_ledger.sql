-- Purpose: the migrations this database has.
-- Parameters: none. Result: rows of (name).
SELECT name FROM schema_migrations ORDER BY name;
