-- Purpose: all counties as stored.
-- Parameters: none. Result: rows of (county_id, region_id, name).
SELECT CONVERT(nvarchar(64), county_id), CONVERT(nvarchar(64), region_id), COALESCE(name, N'')
FROM counties;
