-- Purpose: appends transitions; one already recorded stays as it is.
-- Parameter: JSON array of {facility_id, version, status, at, reason}, each key once.
-- Result: one row, the number of rows inserted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    version bigint NOT NULL,
    status varchar(7) NOT NULL,
    at datetime2(3) NOT NULL,
    reason varchar(16) NOT NULL,
    PRIMARY KEY (facility_id, version)
);
INSERT INTO #incoming (facility_id, version, status, at, reason)
SELECT facility_id, version, status, CONVERT(datetime2(3), LEFT(at, 23), 126), reason
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    version bigint '$.version',
    status varchar(7) '$.status',
    at varchar(24) '$.at',
    reason varchar(16) '$.reason'
);

INSERT INTO facility_status_history (facility_id, version, status, at, reason)
SELECT i.facility_id, i.version, i.status, i.at, i.reason
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1 FROM facility_status_history AS h WHERE h.facility_id = i.facility_id AND h.version = i.version
);
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
