-- Purpose: deletes the oldest transitions, but none that is still in force at the given instant.
-- Parameter: JSON object {before, limit}. Result: number of rows deleted.
DELETE FROM facility_status_history
WHERE (facility_id, version) IN (
    SELECT h.facility_id, h.version
    FROM facility_status_history AS h
    WHERE h.at < json_extract(?1, '$.before')
        AND EXISTS (
            SELECT 1
            FROM facility_status_history AS n
            WHERE n.facility_id = h.facility_id
                AND n.version > h.version
                AND n.at <= json_extract(?1, '$.before')
        )
    ORDER BY h.at
    LIMIT json_extract(?1, '$.limit')
);
