-- Says in the stream of presences which sessions users have at a facility: in the order of that stream this is true
-- whatever happens meanwhile, which a comparison from outside never is.
--
-- ARGV[4] now in ms   ARGV[5…] pairs: facility, user
-- Returns how many sessions that are.

local now, count = tonumber(ARGV[4]), 0
for i = 5, #ARGV, 2 do
  local facility, user = ARGV[i], ARGV[i + 1]
  local sessions, began = {}, nil
  each_session(redis.call('HGETALL', sessions_key(facility)), function(id, started, _, _, _, life)
    local owner, session = string.match(id, '^([^/]*)/(.*)$')
    if owner == user and life == ONLINE then
      sessions[#sessions + 1] = session
      began = math.min(began or started, started)
    end
  end)
  count = count + #sessions
  tell_presence('present', facility, user .. '/' .. table.concat(sessions, ','), began or now, 'heartbeat')
end
return count
