-- Purpose: deletes users.
-- Parameter: JSON array of {user_id}. Result: one row, the number of rows deleted.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY
);
INSERT INTO #incoming (user_id)
SELECT user_id
FROM OPENJSON(@rows) WITH (
    user_id varchar(128) '$.user_id'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
DELETE u
FROM users AS u
INNER JOIN #incoming AS i
    ON u.user_id = i.user_id COLLATE DATABASE_DEFAULT
    AND u.user_id = i.user_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
