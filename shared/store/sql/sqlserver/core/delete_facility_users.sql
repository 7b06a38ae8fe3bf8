-- Purpose: deletes memberships.
-- Parameter: JSON array of {user_id, facility_id}. Result: one row, the number of rows deleted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    PRIMARY KEY (user_id, facility_id)
);
INSERT INTO #incoming (user_id, facility_id)
SELECT user_id, facility_id
FROM OPENJSON(@rows) WITH (
    user_id varchar(128) '$.user_id',
    facility_id varchar(64) '$.facility_id'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
DELETE f
FROM facility_users AS f
INNER JOIN #incoming AS i
    ON f.user_id = i.user_id COLLATE DATABASE_DEFAULT
    AND f.user_id = i.user_id COLLATE Latin1_General_BIN2
    AND f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
    AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
