-- Purpose: makes the ledger of migrations where it is absent.
-- Parameters: none. Result: none.
IF OBJECT_ID(N'schema_migrations') IS NULL
    CREATE TABLE schema_migrations (
        name varchar(128) COLLATE Latin1_General_BIN2 NOT NULL,
        applied_at datetime2(3) NOT NULL,
        CONSTRAINT pk_schema_migrations PRIMARY KEY (name)
    );
