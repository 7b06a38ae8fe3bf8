-- Purpose: all facilities as stored.
-- Parameters: none. Result: rows of (facility_id, county_id, name).
SELECT CONVERT(nvarchar(64), facility_id), CONVERT(nvarchar(64), county_id), COALESCE(name, N'')
FROM facilities;
