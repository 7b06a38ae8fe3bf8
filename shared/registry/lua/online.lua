-- Counts the sessions online at the facilities of one partition, one at several of them at each.
--
-- Returns their number.

local sessions = 0
for _, raw in ipairs(redis.call('HVALS', FACILITIES)) do sessions = sessions + sessions_of(raw) end
return sessions
