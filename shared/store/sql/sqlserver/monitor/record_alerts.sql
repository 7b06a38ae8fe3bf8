-- Purpose: keeps what was announced last of each facility; an older announcement changes nothing.
-- Parameter: JSON array of {facility_id, state, since, announced_at}, each facility and state once.
-- Result: one row, the number of rows changed.
DECLARE @rows nvarchar(max) = ?;
DECLARE @changed int;

CREATE TABLE #incoming (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    state varchar(9) NOT NULL,
    since datetime2(3) NOT NULL,
    announced_at datetime2(3) NOT NULL,
    PRIMARY KEY (facility_id, state)
);
INSERT INTO #incoming (facility_id, state, since, announced_at)
SELECT
    facility_id,
    state,
    CONVERT(datetime2(3), LEFT(since, 23), 126),
    CONVERT(datetime2(3), LEFT(announced_at, 23), 126)
FROM OPENJSON(@rows) WITH (
    facility_id varchar(64) '$.facility_id',
    state varchar(9) '$.state',
    since varchar(24) '$.since',
    announced_at varchar(24) '$.announced_at'
);

UPDATE a
SET since = i.since, announced_at = i.announced_at
FROM facility_alerts AS a
INNER JOIN #incoming AS i ON i.facility_id = a.facility_id AND i.state = a.state
WHERE i.announced_at > a.announced_at;
SET @changed = @@ROWCOUNT;

INSERT INTO facility_alerts (facility_id, state, since, announced_at)
SELECT i.facility_id, i.state, i.since, i.announced_at
FROM #incoming AS i
WHERE NOT EXISTS (
    SELECT 1 FROM facility_alerts AS a WHERE a.facility_id = i.facility_id AND a.state = i.state
);
SET @changed = @changed + @@ROWCOUNT;

DROP TABLE #incoming;
SELECT @changed AS changed;
