-- Purpose: inserts users, or gives those that exist their new values.
-- Parameter: JSON array of {user_id, name}, each key once. Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY,
    name nvarchar(4000) NOT NULL
);
INSERT INTO #incoming (user_id, name)
SELECT user_id, name
FROM OPENJSON(@rows) WITH (
    user_id varchar(128) '$.user_id',
    name nvarchar(4000) '$.name'
);

-- Compared twice: first as the customer's key mostly is, then exactly, as the key of a table made here is.
UPDATE u
SET name = i.name
FROM users AS u
INNER JOIN #incoming AS i
    ON u.user_id = i.user_id COLLATE DATABASE_DEFAULT
    AND u.user_id = i.user_id COLLATE Latin1_General_BIN2;
SET @changed = @@ROWCOUNT;

INSERT INTO users (user_id, name)
SELECT i.user_id, i.name
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1
    FROM users AS u
    WHERE u.user_id = i.user_id COLLATE DATABASE_DEFAULT
        AND u.user_id = i.user_id COLLATE Latin1_General_BIN2
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
