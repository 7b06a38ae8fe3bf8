-- Purpose: what was counted at several facilities together, by hour, in the hours that begin in a range.
-- Parameter: JSON object {facilities: [facility_id], start, end}.
-- Result: rows of (start_at, heartbeats, sessions_started, sessions_expired, sessions_left, sessions_ended).
-- The key finds each facility's hours; nothing of other facilities is read.
SELECT
    h.start_at, sum(h.heartbeats), sum(h.sessions_started), sum(h.sessions_expired), sum(h.sessions_left),
    sum(h.sessions_ended)
FROM json_each(?1, '$.facilities') AS f
CROSS JOIN facility_activity_hours AS h -- CROSS: from the facilities to their hours, not the other way round
WHERE h.facility_id = f.value
    AND h.start_at >= json_extract(?1, '$.start')
    AND h.start_at < json_extract(?1, '$.end')
GROUP BY h.start_at;
