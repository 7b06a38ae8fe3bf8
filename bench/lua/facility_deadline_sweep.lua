local watermark = tonumber(ARGV[3])
local due = redis.call('ZRANGE', DEADLINES, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4])
local over = 0
for _, facility in ipairs(due) do
  local values, look_at = 'sessions:' .. tag .. ':' .. facility, nil
  local flat = redis.call('HGETALL', values)
  for i = 1, #flat, 2 do
    local started, beat, _, ended = struct.unpack(VALUE, flat[i + 1])
    local at = beat + ttl
    if ended == 0 and at <= watermark then
      redis.call('HSET', values, flat[i], pack(started, beat, at))
      went(facility, flat[i], started, at)
      over = over + 1
    elseif ended == 0 then
      look_at = math.min(look_at or at, at)
    end
  end
  if look_at then
    redis.call('ZADD', DEADLINES, look_at, facility)
  else
    redis.call('ZREM', DEADLINES, facility)
  end
end
return { over, #due == tonumber(ARGV[4]) and 1 or 0 }
