-- Purpose: all regions as stored.
-- Parameters: none. Result: rows of (region_id, name).
SELECT CONVERT(nvarchar(64), region_id), COALESCE(name, N'')
FROM regions;
