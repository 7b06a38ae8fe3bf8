-- Purpose: inserts facilities, or gives those that exist their new values; a new facility has never been online.
-- Parameter: JSON array of {facility_id, county_id, name}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    county_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    name nvarchar(4000) NOT NULL
);
INSERT INTO #incoming (facility_id, county_id, name)
SELECT facility_id, county_id, name
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    county_id varchar(64) '$.county_id',
    name nvarchar(4000) '$.name'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
UPDATE f
SET county_id = i.county_id, name = i.name
FROM facilities AS f
INNER JOIN #incoming AS i
    ON f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
    AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

INSERT INTO facilities (facility_id, county_id, name, connectivity_status, connectivity_since, connectivity_version)
SELECT i.facility_id, i.county_id, i.name, 'offline', NULL, 0
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM facilities AS f
    WHERE f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
        AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
