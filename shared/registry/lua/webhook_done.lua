-- Takes a call that is done with off a facility's list, and lets the next one have its turn.
--
-- KEYS[1] the facility's calls   KEYS[2] facilities with calls waiting   KEYS[3] attempts
-- ARGV[1] the call   ARGV[2] facility   ARGV[3] now in ms
-- Returns the number of calls that still wait.

redis.call('LREM', KEYS[1], 1, ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[2])
local left = redis.call('LLEN', KEYS[1])
if left == 0 then
  redis.call('ZREM', KEYS[2], ARGV[2])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
end
return left
