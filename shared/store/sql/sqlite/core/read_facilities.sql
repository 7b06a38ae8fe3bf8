-- Purpose: all facilities as stored.
-- Parameters: none. Result: rows of (facility_id, county_id, name).
SELECT facility_id, county_id, coalesce(name, '') FROM facilities;
