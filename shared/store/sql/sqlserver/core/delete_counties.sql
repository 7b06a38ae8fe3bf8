-- Purpose: deletes counties.
-- Parameter: JSON array of {county_id}. Result: one row, the number of rows deleted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    county_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY
);
INSERT INTO #incoming (county_id)
SELECT county_id
FROM OPENJSON(@rows) WITH (
    county_id varchar(64) '$.county_id'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
DELETE c
FROM counties AS c
INNER JOIN #incoming AS i
    ON c.county_id = i.county_id COLLATE DATABASE_DEFAULT
    AND c.county_id = i.county_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
