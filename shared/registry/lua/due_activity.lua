-- Tells which hours of which facilities are to be written to SQL, longest waiting first, with what is counted of them.
-- On the way, lets go of the users of days that are over and written.
--
-- ARGV[4] now in ms   ARGV[5] how many to look at   ARGV[6] how long after its end a day is kept, in ms
-- Returns how many hours and days were looked at, and of each hour {<hour>/<facility>, counts as a flat list, users of
-- the hour, users of its day}.

local now, found = tonumber(ARGV[4]), {}

local function forget_day(member, day, facility)
  local hours = {}
  for hour = day * 24, day * 24 + 23 do hours[#hours + 1] = activity_key(hour, facility) end
  if redis.call('EXISTS', unpack(hours)) == 0 then
    redis.call('UNLINK', day_users_key(day, facility))
    redis.call('ZREM', ACTIVITY_DUE, member)
  else
    redis.call('ZADD', ACTIVITY_DUE, now + tonumber(ARGV[6]), member)
  end
end

local due = redis.call('ZRANGE', ACTIVITY_DUE, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[5])
for _, member in ipairs(due) do
  local hour, epoch, facility, day = parse_due(member)
  if day then
    forget_day(member, day, facility)
  else
    if not epoch then settle_waiting(facility) end
    local key = activity_key(epoch and hour .. '~' .. epoch or hour, facility)
    found[#found + 1] = { member, redis.call('HGETALL', key), redis.call('PFCOUNT', hour_users_key(hour, facility)),
      redis.call('PFCOUNT', day_users_key(floor(hour / 24), facility)) }
  end
end
return { #due, found }
