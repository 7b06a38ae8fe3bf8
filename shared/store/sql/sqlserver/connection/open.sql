-- Purpose: prepares a new connection.
-- Parameters: none. Result: none.
-- NOCOUNT leaves each batch with one result, its answer; XACT_ABORT ends the transaction at the first error.
SET NOCOUNT ON;
SET XACT_ABORT ON;
