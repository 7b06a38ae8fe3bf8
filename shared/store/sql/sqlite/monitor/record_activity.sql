-- Purpose: keeps what was counted in an hour of a facility; of two accounts of one epoch the later one stays.
-- Parameter: JSON array of {facility_id, start_at, epoch, revision, heartbeats, sessions_started, sessions_expired,
--            sessions_left, sessions_ended, unique_users, unique_users_of_day, minutes}, each key once; absolute numbers.
-- Result: number of rows changed.
INSERT INTO facility_activity_hours (
    facility_id, start_at, epoch, revision, heartbeats, sessions_started, sessions_expired, sessions_left,
    sessions_ended, unique_users, unique_users_of_day, minutes
)
SELECT
    json_extract(value, '$.facility_id'),
    json_extract(value, '$.start_at'),
    json_extract(value, '$.epoch'),
    json_extract(value, '$.revision'),
    json_extract(value, '$.heartbeats'),
    json_extract(value, '$.sessions_started'),
    json_extract(value, '$.sessions_expired'),
    json_extract(value, '$.sessions_left'),
    json_extract(value, '$.sessions_ended'),
    json_extract(value, '$.unique_users'),
    json_extract(value, '$.unique_users_of_day'),
    json_extract(value, '$.minutes')
FROM json_each(?1)
WHERE true -- without it, ON CONFLICT would be read as a join's ON
ON CONFLICT (facility_id, start_at, epoch) DO UPDATE
SET revision = excluded.revision,
    heartbeats = excluded.heartbeats,
    sessions_started = excluded.sessions_started,
    sessions_expired = excluded.sessions_expired,
    sessions_left = excluded.sessions_left,
    sessions_ended = excluded.sessions_ended,
    unique_users = excluded.unique_users,
    unique_users_of_day = excluded.unique_users_of_day,
    minutes = excluded.minutes
WHERE excluded.revision > facility_activity_hours.revision;
