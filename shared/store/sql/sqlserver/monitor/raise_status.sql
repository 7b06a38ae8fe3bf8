-- Purpose: moves each facility's state up to a newer version, never down.
-- Parameter: JSON array of {facility_id, version, status, at, reason}, each facility once.
-- Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    status varchar(7) NOT NULL,
    since datetime2(3) NOT NULL,
    reason varchar(16) NOT NULL
);
INSERT INTO #incoming (facility_id, version, status, since, reason)
SELECT facility_id, version, status, CONVERT(datetime2(3), LEFT(at, 23), 126), reason
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    version bigint '$.version',
    status varchar(7) '$.status',
    at varchar(24) '$.at',
    reason varchar(16) '$.reason'
);

UPDATE s
SET status = i.status, since = i.since, version = i.version, reason = i.reason
FROM facility_status AS s
INNER JOIN #incoming AS i ON i.facility_id = s.facility_id
WHERE i.version > s.version;
SET @changed = @@ROWCOUNT;

INSERT INTO facility_status (facility_id, status, since, version, reason)
SELECT i.facility_id, i.status, i.since, i.version, i.reason
FROM #incoming AS i
WHERE NOT EXISTS (SELECT 1 FROM facility_status AS s WHERE s.facility_id = i.facility_id);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
