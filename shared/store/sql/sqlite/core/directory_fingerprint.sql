-- Purpose: the directory as texts to be hashed, one per row of its tables; connectivity is no part of it.
-- Parameters: none. Result: rows of (text).
SELECT 'r' || char(31) || region_id || char(31) || coalesce(name, '') FROM regions
UNION ALL
SELECT 'c' || char(31) || county_id || char(31) || coalesce(region_id, '') || char(31) || coalesce(name, '') FROM counties
UNION ALL
SELECT 'f' || char(31) || facility_id || char(31) || coalesce(county_id, '') || char(31) || coalesce(name, '')
FROM facilities
UNION ALL
SELECT 'u' || char(31) || user_id || char(31) || coalesce(name, '') FROM users
UNION ALL
SELECT 'm' || char(31) || user_id || char(31) || facility_id FROM facility_users;
