-- Purpose: writes the newest connectivity of facilities, never an older version.
-- Parameter: JSON array of {facility_id, status, since, version}, each facility once.
-- Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    status varchar(7) NOT NULL,
    since datetime2(3) NOT NULL,
    version bigint NOT NULL
);
INSERT INTO #incoming (facility_id, status, since, version)
SELECT facility_id, status, CONVERT(datetime2(3), LEFT(since, 23), 126), version
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    status varchar(7) '$.status',
    since varchar(24) '$.since',
    version bigint '$.version'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
UPDATE f
SET connectivity_status = i.status, connectivity_since = i.since, connectivity_version = i.version
FROM facilities AS f
INNER JOIN #incoming AS i
    ON f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
    AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2
WHERE COALESCE(f.connectivity_version, 0) < i.version;
DECLARE @changed int = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
