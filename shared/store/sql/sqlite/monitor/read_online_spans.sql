-- Purpose: how long a facility was online in each of the given spans; the state before a span counts in it.
-- Parameter: JSON object {facility_id, start, end, spans: [{start, end}]}: start is the earliest of the spans' starts,
--            end the latest of their ends, up to which the newest state lasts.
-- Result: rows of (start of the span, milliseconds online), none for a span without any.
-- A departure from a region is no state of the facility.
-- facility_status_history_by_time finds both the transitions and the one in force at the start.
WITH
spans AS (
    SELECT json_extract(value, '$.start') AS start_at, json_extract(value, '$.end') AS end_at
    FROM json_each(?1, '$.spans')
),
states AS (
    SELECT status, at AS start_at, LEAD(at, 1, json_extract(?1, '$.end')) OVER (ORDER BY version) AS end_at
    FROM facility_status_history
    WHERE facility_id = json_extract(?1, '$.facility_id')
        AND status <> 'removed'
        AND at < json_extract(?1, '$.end')
        AND at >= coalesce(
            (
                SELECT max(at)
                FROM facility_status_history
                WHERE facility_id = json_extract(?1, '$.facility_id')
                    AND status <> 'removed'
                    AND at <= json_extract(?1, '$.start')
            ),
            ''
        )
)
SELECT
    s.start_at,
    -- A julian day resolves 0.05 ms; rounded one by one, so that nothing adds up.
    CAST(sum(round(
        (julianday(min(o.end_at, s.end_at)) - julianday(max(o.start_at, s.start_at))) * 86400000.0
    )) AS INTEGER)
FROM spans AS s
INNER JOIN states AS o
    ON o.status = 'online'
    AND o.start_at < s.end_at
    AND o.end_at > s.start_at
    AND o.end_at > o.start_at
GROUP BY s.start_at;
