-- Purpose: deletes facilities.
-- Parameter: JSON array of {facility_id}. Result: one row, the number of rows deleted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY
);
INSERT INTO #incoming (facility_id)
SELECT facility_id
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
DELETE f
FROM facilities AS f
INNER JOIN #incoming AS i
    ON f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
    AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
