-- Purpose: opens a transaction that no other writer of this product shares, so that a rule read in one statement
--          still holds in the next, and that two starts at once migrate one after the other.
-- Parameters: none. Result: none; error 51222 when another writer holds the lock for 30 s.
DECLARE @outcome int;
BEGIN TRY
    BEGIN TRANSACTION;
    EXEC @outcome = sp_getapplock
        @Resource = N'facility-pulse',
        @LockMode = N'Exclusive',
        @LockOwner = N'Transaction',
        @LockTimeout = 30000;
    IF @outcome < 0
    BEGIN
        THROW 51222, N'another writer holds the lock facility-pulse', 1;
    END;
END TRY
BEGIN CATCH
    IF @@TRANCOUNT > 0
        ROLLBACK TRANSACTION;
    THROW;
END CATCH;
