-- Removes the session-list keys of facilities that wait for the sweep, so that their expiry is not told a thousand
-- times to everybody while the sweep is on its way there. Where a session goes on, it is listed anew when its time comes.
--
-- ARGV[4] watermark in ms
-- ARGV[5] how many of them to pass over, those that are due first   ARGV[6] how many to visit at most
-- Returns the number of facilities visited: fewer than asked for where these have many sessions, 0 when none is left.

-- Keys after which the call ends: Redis answers nobody meanwhile.
local MANY = 10000

local due = redis.call('ZRANGE', DEADLINES, '-inf', ARGV[4], 'BYSCORE', 'LIMIT', ARGV[5], ARGV[6])
local keys = 0
for visited, facility in ipairs(due) do
  local listed = {}
  for i, id in ipairs(redis.call('HKEYS', sessions_key(facility))) do listed[i] = listing_key(facility, id) end
  in_pieces(listed, function(...) redis.call('UNLINK', ...) end)
  keys = keys + #listed
  if keys >= MANY then return visited end
end
return #due
