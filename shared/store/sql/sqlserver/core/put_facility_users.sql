-- Purpose: inserts memberships.
-- Parameter: JSON array of {user_id, facility_id}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int = 0;

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
INSERT INTO facility_users (user_id, facility_id)
SELECT i.user_id, i.facility_id
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM facility_users AS f
    WHERE f.user_id = i.user_id COLLATE DATABASE_DEFAULT
        AND f.user_id = i.user_id COLLATE Latin1_General_BIN2
        AND f.facility_id = i.facility_id COLLATE DATABASE_DEFAULT
        AND f.facility_id = i.facility_id COLLATE Latin1_General_BIN2
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
