-- Tells of users' sessions that are online at a facility.
--
-- ARGV[4] facility   ARGV[5…] users
-- Returns of each user, in order, the receivedAt (ms) of the newest heartbeat and then the sessions' ids; 0 alone for
-- one without a session there.

local found = {}
each_session(redis.call('HGETALL', sessions_key(ARGV[4])), function(id, _, beat, _, _, life)
  local user, session = string.match(id, '^([^/]*)/(.*)$')
  if life == ONLINE and session ~= '' then
    local known = found[user] or { 0 }
    known[1] = math.max(known[1], beat)
    known[#known + 1] = session
    found[user] = known
  end
end)
local heard = {}
for i = 5, #ARGV do heard[#heard + 1] = found[ARGV[i]] or { 0 } end
return heard
