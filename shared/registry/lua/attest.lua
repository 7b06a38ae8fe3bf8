-- Says in the stream of presences which sessions users have at a facility: in the order of that stream this is true
-- whatever happens meanwhile, which a comparison from outside never is.
--
-- ARGV[4] now in ms   ARGV[5…] pairs: facility, user
-- Returns how many sessions that are.

local now, count = tonumber(ARGV[4]), 0
local found = {}

-- Returns user to sessions, with when the first of them began; read once, however many users of a facility are asked for.
local function users_of(facility)
  if found[facility] then return found[facility] end
  local users = {}
  each_session(redis.call('HGETALL', sessions_key(facility)), function(id, started, _, _, _, life)
    if life ~= ONLINE then return end
    local user, session = string.match(id, '^([^/]*)/(.*)$')
    local sessions = users[user] or { began = started }
    sessions[#sessions + 1] = session
    sessions.began = math.min(sessions.began, started)
    users[user] = sessions
  end)
  found[facility] = users
  return users
end

for i = 5, #ARGV, 2 do
  local facility, user = ARGV[i], ARGV[i + 1]
  local sessions = users_of(facility)[user] or {}
  count = count + #sessions
  tell_presence('present', facility, user .. '/' .. table.concat(sessions, ','), sessions.began or now, 'heartbeat')
end
return count
