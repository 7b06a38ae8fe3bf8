-- Purpose: activity by minute, hour and day, for whoever reads this database; by itself, as a view needs a batch alone.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- unique_users is known for hours and days only; of several epochs, and of a day's hours, the greatest number counts.
CREATE VIEW facility_activity AS
SELECT
    h.facility_id,
    'minute' AS granularity,
    DATEADD(minute, CONVERT(int, JSON_VALUE(m.value, '$[0]')), h.start_at) AS start_at,
    SUM(COALESCE(CONVERT(bigint, JSON_VALUE(m.value, '$[1]')), 0)) AS heartbeats,
    SUM(COALESCE(CONVERT(bigint, JSON_VALUE(m.value, '$[2]')), 0)) AS sessions_started,
    SUM(COALESCE(CONVERT(bigint, JSON_VALUE(m.value, '$[3]')), 0)) AS sessions_expired,
    SUM(COALESCE(CONVERT(bigint, JSON_VALUE(m.value, '$[4]')), 0)) AS sessions_left,
    SUM(COALESCE(CONVERT(bigint, JSON_VALUE(m.value, '$[5]')), 0)) AS sessions_ended,
    CAST(NULL AS bigint) AS unique_users
FROM facility_activity_hours AS h
-- Without a schema: Babelfish shifts the columns of one whose arrays differ in length.
CROSS APPLY OPENJSON(h.minutes) AS m
GROUP BY h.facility_id, h.start_at, DATEADD(minute, CONVERT(int, JSON_VALUE(m.value, '$[0]')), h.start_at)
UNION ALL
SELECT
    facility_id, 'hour', start_at, SUM(heartbeats), SUM(sessions_started), SUM(sessions_expired),
    SUM(sessions_left), SUM(sessions_ended), MAX(unique_users)
FROM facility_activity_hours
GROUP BY facility_id, start_at
UNION ALL
SELECT
    facility_id, 'day', CONVERT(datetime2(3), CONVERT(date, start_at)), SUM(heartbeats), SUM(sessions_started),
    SUM(sessions_expired), SUM(sessions_left), SUM(sessions_ended), MAX(unique_users_of_day)
FROM facility_activity_hours
GROUP BY facility_id, CONVERT(date, start_at);
