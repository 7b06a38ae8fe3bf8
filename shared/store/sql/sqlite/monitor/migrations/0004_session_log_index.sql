-- Purpose: takes away an index that no statement uses, and that every ended session had to be entered into.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
DROP INDEX session_log_by_facility;
