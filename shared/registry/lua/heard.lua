-- Tells when users were last heard at a facility, by their sessions that are online there.
--
-- ARGV[4] facility   ARGV[5…] users
-- Returns the receivedAt (ms) of the newest heartbeat of each user, in order; 0 for one without a session there.

local newest = {}
local flat = redis.call('HGETALL', sessions_key(ARGV[4]))
for i = 1, #flat, 2 do
  local user = string.match(flat[i], '^[^/]*')
  local started, beat, leave, over, life = struct.unpack(SESSION, flat[i + 1])
  if life == ONLINE then newest[user] = math.max(newest[user] or 0, beat) end
end
local heard = {}
for i = 5, #ARGV do heard[#heard + 1] = newest[ARGV[i]] or 0 end
return heard
