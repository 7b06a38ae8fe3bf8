-- Purpose: notes that a migration was applied.
-- Parameter: JSON array of {name, applied_at}. Result: number of rows inserted.
INSERT INTO schema_migrations (name, applied_at)
SELECT json_extract(value, '$.name'), json_extract(value, '$.applied_at')
FROM json_each(?1);
