-- Purpose: notes that a migration was applied.
-- Parameter: JSON array of {name, applied_at}. Result: one row, the number of rows inserted.
DECLARE @rows nvarchar(max) = ?;
INSERT INTO schema_migrations (name, applied_at)
SELECT name, CONVERT(datetime2(3), LEFT(applied_at, 23), 126)
FROM OPENJSON(@rows) WITH (name varchar(128) '$.name', applied_at varchar(24) '$.applied_at');
SELECT @@ROWCOUNT AS changed;
