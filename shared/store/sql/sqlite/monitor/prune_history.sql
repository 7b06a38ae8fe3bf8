-- Purpose: deletes the oldest transitions, but never a facility's newest.
-- Parameter: JSON object {before, limit}. Result: number of rows deleted.
DELETE FROM facility_status_history
WHERE (facility_id, version) IN (
    SELECT h.facility_id, h.version
    FROM facility_status_history AS h
    INNER JOIN facility_status AS s ON s.facility_id = h.facility_id AND s.version > h.version
    WHERE h.at < json_extract(?1, '$.before')
    ORDER BY h.at
    LIMIT json_extract(?1, '$.limit')
);
