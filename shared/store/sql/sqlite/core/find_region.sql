-- Purpose: the facilities of a region, and for each whether it is a user's.
-- Parameter: JSON object {region_id, user_id}. Result: rows of (facility_id, 1 or 0); for a region without facilities
-- one row (NULL, 0), for an unknown one none.
-- counties_by_region and facilities_by_county serve it: no other region is read.
SELECT
    f.facility_id,
    EXISTS (
        SELECT 1
        FROM facility_users AS m
        WHERE m.user_id = json_extract(?1, '$.user_id') AND m.facility_id = f.facility_id
    )
FROM regions AS r
LEFT JOIN counties AS c ON c.region_id = r.region_id
LEFT JOIN facilities AS f ON f.county_id = c.county_id
WHERE r.region_id = json_extract(?1, '$.region_id');
