-- Purpose: inserts regions, or gives those that exist their new values.
-- Parameter: JSON array of {region_id, name}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    region_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    name nvarchar(4000) NOT NULL
);
INSERT INTO #incoming (region_id, name)
SELECT region_id, name
FROM OPENJSON(@rows) WITH (
    region_id varchar(64) '$.region_id',
    name nvarchar(4000) '$.name'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
UPDATE r
SET name = i.name
FROM regions AS r
INNER JOIN #incoming AS i
    ON r.region_id = i.region_id COLLATE DATABASE_DEFAULT
    AND r.region_id = i.region_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

INSERT INTO regions (region_id, name)
SELECT i.region_id, i.name
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM regions AS r
    WHERE r.region_id = i.region_id COLLATE DATABASE_DEFAULT
        AND r.region_id = i.region_id COLLATE Latin1_General_BIN2
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
