-- Purpose: deletes regions.
-- Parameter: JSON array of {region_id}. Result: one row, the number of rows deleted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    region_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY
);
INSERT INTO #incoming (region_id)
SELECT region_id
FROM OPENJSON(@rows) WITH (
    region_id varchar(64) '$.region_id'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
DELETE r
FROM regions AS r
INNER JOIN #incoming AS i
    ON r.region_id = i.region_id COLLATE DATABASE_DEFAULT
    AND r.region_id = i.region_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
