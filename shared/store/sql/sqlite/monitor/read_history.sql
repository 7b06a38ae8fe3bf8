-- Purpose: one page of a facility's transitions between two instants (both included), newest first; where it only
--          left or joined a region, nothing of it is shown.
-- Parameter: JSON object {facility_id, start, end, before, limit}; of those at `end` only versions below `before`.
-- Result: rows of (version, status, at, reason).
-- facility_status_history_by_time serves it: neither later pages nor ranges of long ago read what is newer.
SELECT version, status, at, reason
FROM facility_status_history
WHERE facility_id = json_extract(?1, '$.facility_id')
    AND status <> 'removed'
    AND reason <> 'joined'
    AND at >= json_extract(?1, '$.start')
    AND at <= json_extract(?1, '$.end')
    AND (at < json_extract(?1, '$.end') OR version < json_extract(?1, '$.before'))
ORDER BY at DESC, version DESC
LIMIT json_extract(?1, '$.limit');
