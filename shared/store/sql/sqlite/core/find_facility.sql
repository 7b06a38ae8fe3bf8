-- Purpose: where a facility belongs, and whether a user belongs to its region.
-- Parameter: JSON object {facility_id, user_id}. Result: at most one row (region_id, 1 or 0).
-- Every step goes by a key.
SELECT
    c.region_id,
    EXISTS (
        SELECT 1
        FROM facility_users AS m
        INNER JOIN facilities AS o ON o.facility_id = m.facility_id
        INNER JOIN counties AS n ON n.county_id = o.county_id
        WHERE m.user_id = json_extract(?1, '$.user_id') AND n.region_id = c.region_id
    )
FROM facilities AS f
INNER JOIN counties AS c ON c.county_id = f.county_id
INNER JOIN regions AS r ON r.region_id = c.region_id
WHERE f.facility_id = json_extract(?1, '$.facility_id');
