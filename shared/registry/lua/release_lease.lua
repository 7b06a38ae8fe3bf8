-- Gives a lease back, unless it is another's by now or somebody raised the counter since the holder last looked.
--
-- KEYS[1] lease   KEYS[2] counter of those who want something done (may be absent)
-- ARGV[1] the holder's token   ARGV[2] the counter as the holder saw it before its last look
-- Returns 1 when the lease is not held by this token any more, 0 when the holder has to look again.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 1 end
if KEYS[2] and (redis.call('GET', KEYS[2]) or '0') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
return 1
