-- Has facilities looked at by the next sweep that a hold had put off until its end, because it is over before.
--
-- ARGV[4] the end of the hold in ms   ARGV[5] when to look instead, in ms
-- Returns their number.

local put_off = redis.call('ZRANGE', DEADLINES, ARGV[4], ARGV[4], 'BYSCORE')
for _, facility in ipairs(put_off) do redis.call('ZADD', DEADLINES, ARGV[5], facility) end
return #put_off
