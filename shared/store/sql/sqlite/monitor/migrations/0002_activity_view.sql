-- Purpose: activity by minute, hour and day, for whoever reads this database; by itself, as a view needs a batch alone.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- unique_users is known for hours and days only; of several epochs, and of a day's hours, the greatest number counts.
CREATE VIEW facility_activity AS
SELECT
    h.facility_id,
    'minute' AS granularity,
    strftime('%Y-%m-%dT%H:%M:%S.000Z', h.start_at, json_extract(m.value, '$[0]') || ' minutes') AS start_at,
    sum(coalesce(json_extract(m.value, '$[1]'), 0)) AS heartbeats,
    sum(coalesce(json_extract(m.value, '$[2]'), 0)) AS sessions_started,
    sum(coalesce(json_extract(m.value, '$[3]'), 0)) AS sessions_expired,
    sum(coalesce(json_extract(m.value, '$[4]'), 0)) AS sessions_left,
    sum(coalesce(json_extract(m.value, '$[5]'), 0)) AS sessions_ended,
    NULL AS unique_users
FROM facility_activity_hours AS h, json_each(h.minutes) AS m
GROUP BY h.facility_id, h.start_at, json_extract(m.value, '$[0]')
UNION ALL
SELECT
    facility_id, 'hour', start_at, sum(heartbeats), sum(sessions_started), sum(sessions_expired), sum(sessions_left),
    sum(sessions_ended), max(unique_users)
FROM facility_activity_hours
GROUP BY facility_id, start_at
UNION ALL
SELECT
    facility_id, 'day', substr(start_at, 1, 10) || 'T00:00:00.000Z', sum(heartbeats), sum(sessions_started),
    sum(sessions_expired), sum(sessions_left), sum(sessions_ended), max(unique_users_of_day)
FROM facility_activity_hours
GROUP BY facility_id, substr(start_at, 1, 10);
