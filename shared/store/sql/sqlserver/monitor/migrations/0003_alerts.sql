-- Purpose: what was announced last of a facility that stayed offline, so that a loss of Redis data repeats no alert.
-- Parameters: none. Result: none. Runs once, in one transaction with its entry in schema_migrations.
-- Read as a whole, after such a loss alone: the key is all the order it needs. At most two rows a facility.
CREATE TABLE facility_alerts (
    facility_id varchar(64) COLLATE Latin1_General_BIN2 NOT NULL,
    state varchar(9) NOT NULL,
    since datetime2(3) NOT NULL,
    announced_at datetime2(3) NOT NULL,
    CONSTRAINT pk_facility_alerts PRIMARY KEY (facility_id, state),
    CONSTRAINT ck_facility_alerts CHECK (state IN ('offline', 'recovered'))
);
