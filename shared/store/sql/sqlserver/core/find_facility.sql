-- Purpose: where a facility belongs, and whether a user belongs to its region.
-- Parameter: JSON object {facility_id, user_id}. Result: at most one row (region_id, 1 or 0).
-- Every step goes by a key. Ids given are compared twice: as the customer's key mostly is, then exactly.
DECLARE @order nvarchar(max) = ?;
DECLARE @facility varchar(64) = JSON_VALUE(@order, '$.facility_id');
DECLARE @user varchar(128) = JSON_VALUE(@order, '$.user_id');

SELECT
    CONVERT(nvarchar(64), c.region_id),
    CASE
        WHEN EXISTS (
            SELECT 1
            FROM facility_users AS m
            INNER JOIN facilities AS o ON o.facility_id = m.facility_id
            INNER JOIN counties AS n ON n.county_id = o.county_id
            WHERE m.user_id = @user
                AND m.user_id = @user COLLATE Latin1_General_BIN2
                AND n.region_id = c.region_id
        ) THEN 1
        ELSE 0
    END
FROM facilities AS f
INNER JOIN counties AS c ON c.county_id = f.county_id
INNER JOIN regions AS r ON r.region_id = c.region_id
WHERE f.facility_id = @facility AND f.facility_id = @facility COLLATE Latin1_General_BIN2;
