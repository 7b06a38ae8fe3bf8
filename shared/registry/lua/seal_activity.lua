-- Seals what is counted in hours so far: what comes later counts under another epoch. The users go on.
--
-- ARGV[4…] members of ACTIVITY_DUE
-- Returns how many hours were sealed.

local sealed = 0
for i = 4, #ARGV do
  local hour, epoch, facility = parse_due(ARGV[i])
  if hour and not epoch then
    settle_waiting(facility)
    local key = activity_key(hour, facility)
    local began = redis.call('HGET', key, 'epoch')
    if began then
      redis.call('RENAME', key, activity_key(hour .. '~' .. began, facility))
      redis.call('ZADD', ACTIVITY_DUE, 0, hour .. '~' .. began .. '/' .. facility)
      sealed = sealed + 1
    end
  end
end
return sealed
