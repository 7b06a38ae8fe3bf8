-- Purpose: the facilities of a region, and for each whether it is a user's.
-- Parameter: JSON object {region_id, user_id}. Result: rows of (facility_id, 1 or 0); for a region without facilities
-- one row (NULL, 0), for an unknown one none. Ids given are compared twice: as the customer's key mostly is, then
-- exactly.
-- counties_by_region and facilities_by_county serve it where the tables have them: no other region is read.
DECLARE @order nvarchar(max) = ?;
DECLARE @region varchar(64) = JSON_VALUE(@order, '$.region_id');
DECLARE @user varchar(128) = JSON_VALUE(@order, '$.user_id');

SELECT
    CONVERT(nvarchar(64), f.facility_id),
    CASE
        WHEN EXISTS (
            SELECT 1
            FROM facility_users AS m
            WHERE m.user_id = @user
                AND m.user_id = @user COLLATE Latin1_General_BIN2
                AND m.facility_id = f.facility_id
        ) THEN 1
        ELSE 0
    END
FROM regions AS r
LEFT JOIN counties AS c ON c.region_id = r.region_id
LEFT JOIN facilities AS f ON f.county_id = c.county_id
WHERE r.region_id = @region AND r.region_id = @region COLLATE Latin1_General_BIN2;
