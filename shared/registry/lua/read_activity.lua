-- Tells what is counted of one facility, hours that SQL alone holds left out.
--
-- ARGV[4] facility   ARGV[5…] hours
-- Returns {hour, counts as a flat list, users of the hour, users of its day} for each hour there is.

local facility, found = ARGV[4], {}
settle_waiting(facility)
for i = 5, #ARGV do
  local hour = ARGV[i]
  local counts = redis.call('HGETALL', activity_key(hour, facility))
  if #counts > 0 then
    found[#found + 1] = { hour, counts, redis.call('PFCOUNT', hour_users_key(hour, facility)),
      redis.call('PFCOUNT', day_users_key(floor(hour / 24), facility)) }
  end
end
return found
