-- Purpose: a count and two sums of row hashes per table; connectivity is no part of it.
-- Parameters: none. Result: rows of (text), one per table.
-- Not CHECKSUM_AGG over BINARY_CHECKSUM: both are made of XOR, so two users who swap facilities would go unnoticed.
SELECT CONCAT(
    kind,
    N' ', COUNT_BIG(*),
    N' ', SUM(CONVERT(bigint, SUBSTRING(hash, 1, 4))),
    N' ', SUM(CONVERT(bigint, SUBSTRING(hash, 5, 4)))
)
FROM (
    SELECT 'regions' AS kind, HASHBYTES('SHA2_256', CONCAT(region_id, NCHAR(31), name)) AS hash
    FROM regions
    UNION ALL
    SELECT 'counties' AS kind, HASHBYTES('SHA2_256', CONCAT(county_id, NCHAR(31), region_id, NCHAR(31), name)) AS hash
    FROM counties
    UNION ALL
    SELECT 'facilities' AS kind, HASHBYTES('SHA2_256', CONCAT(facility_id, NCHAR(31), county_id, NCHAR(31), name)) AS hash
    FROM facilities
    UNION ALL
    SELECT 'users' AS kind, HASHBYTES('SHA2_256', CONCAT(user_id, NCHAR(31), name)) AS hash
    FROM users
    UNION ALL
    SELECT 'facility_users' AS kind, HASHBYTES('SHA2_256', CONCAT(user_id, NCHAR(31), facility_id)) AS hash
    FROM facility_users
) AS directory
GROUP BY kind
ORDER BY kind;
