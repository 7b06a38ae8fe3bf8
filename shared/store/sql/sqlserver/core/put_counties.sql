-- Purpose: inserts counties, or gives those that exist their new values.
-- Parameter: JSON array of {county_id, region_id, name}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    county_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    region_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    name nvarchar(4000) NOT NULL
);
INSERT INTO #incoming (county_id, region_id, name)
SELECT county_id, region_id, name
FROM OPENJSON(@rows) WITH (
    county_id varchar(64) '$.county_id',
    region_id varchar(64) '$.region_id',
    name nvarchar(4000) '$.name'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
UPDATE c
SET region_id = i.region_id, name = i.name
FROM counties AS c
INNER JOIN #incoming AS i
    ON c.county_id = i.county_id COLLATE DATABASE_DEFAULT
    AND c.county_id = i.county_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

INSERT INTO counties (county_id, region_id, name)
SELECT i.county_id, i.region_id, i.name
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM counties AS c
    WHERE c.county_id = i.county_id COLLATE DATABASE_DEFAULT
        AND c.county_id = i.county_id COLLATE Latin1_General_BIN2
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
