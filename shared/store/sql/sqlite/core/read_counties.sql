-- Purpose: all counties as stored.
-- Parameters: none. Result: rows of (county_id, region_id, name).
SELECT county_id, region_id, coalesce(name, '') FROM counties;
