-- Has facilities looked at by the next sweep that a hold may have put off until its end, because it is over before: all
-- that would be looked at until then, since where somebody else is due earlier the entry says that.
--
-- ARGV[4] the end of the hold in ms   ARGV[5] when to look instead, in ms
-- Returns their number.

local put_off = redis.call('ZRANGE', DEADLINES, '(' .. ARGV[5], ARGV[4], 'BYSCORE')
for _, facility in ipairs(put_off) do redis.call('ZADD', DEADLINES, ARGV[5], facility) end
return #put_off
