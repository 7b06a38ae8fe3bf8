-- Renews a lease that is still the holder's.
--
-- KEYS[1] lease   ARGV[1] the holder's token   ARGV[2] duration in ms
-- Returns 1 when renewed, 0 when the lease is lost.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
