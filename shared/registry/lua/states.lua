-- Tells the states of facilities, and when each was last heard.
--
-- ARGV[4…] facilities of this partition
-- Returns a flat list: packed state and value of HEARD for each, false where there is none.

local found = {}
for i = 4, #ARGV do
  found[#found + 1] = redis.call('HGET', FACILITIES, ARGV[i])
  found[#found + 1] = redis.call('HGET', sessions_key(ARGV[i]), HEARD)
end
return found
