-- Purpose: the directory's tables where the core database does not have them; an existing table is left as it is.
-- Parameters: none. Result: none.
-- No foreign keys: a new table may stand beside older ones whose ids have another type or collation, which a key cannot
-- join. Whoever writes a directory checks its references before.
-- Case matters in ids, whatever the database's collation. A name of 200 characters may take 400 UTF-16 units.
IF OBJECT_ID(N'regions') IS NULL
    CREATE TABLE regions (
        region_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        name nvarchar(400) NOT NULL,
        CONSTRAINT pk_regions PRIMARY KEY (region_id)
    );

IF OBJECT_ID(N'counties') IS NULL
    CREATE TABLE counties (
        county_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        region_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        name nvarchar(400) NOT NULL,
        CONSTRAINT pk_counties PRIMARY KEY (county_id)
    );

IF OBJECT_ID(N'facilities') IS NULL
    CREATE TABLE facilities (
        facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        county_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        name nvarchar(400) NOT NULL,
        connectivity_status varchar(7) NOT NULL DEFAULT 'offline',
        connectivity_since datetime2(3) NULL,
        connectivity_version bigint NOT NULL DEFAULT 0,
        CONSTRAINT pk_facilities PRIMARY KEY (facility_id)
    );

IF OBJECT_ID(N'users') IS NULL
    CREATE TABLE users (
        user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
        name nvarchar(400) NOT NULL,
        CONSTRAINT pk_users PRIMARY KEY (user_id)
    );

IF OBJECT_ID(N'facility_users') IS NULL
BEGIN
    CREATE TABLE facility_users (
        user_id varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
        facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
        CONSTRAINT pk_facility_users PRIMARY KEY (user_id, facility_id)
    );
    -- Deleting a facility looks for its members; the key starts with the user.
    CREATE INDEX facility_users_by_facility ON facility_users (facility_id);
END;
