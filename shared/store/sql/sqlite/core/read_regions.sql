-- Purpose: all regions as stored.
-- Parameters: none. Result: rows of (region_id, name).
SELECT region_id, coalesce(name, '') FROM regions;
