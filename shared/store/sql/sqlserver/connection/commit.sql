-- Purpose: ends the transaction and frees its lock.
-- Parameters: none. Result: none.
COMMIT TRANSACTION;
