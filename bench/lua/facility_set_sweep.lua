local due = redis.call('ZRANGE', DEADLINES, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4])
local ended = 0
for _, facility in ipairs(due) do
  local values, deadlines = 'sessions:' .. tag .. ':' .. facility, 'deadlines:' .. tag .. ':' .. facility
  local over = redis.call('ZRANGE', deadlines, '-inf', ARGV[3], 'BYSCORE', 'WITHSCORES')
  for i = 1, #over, 2 do
    local id, at = over[i], tonumber(over[i + 1])
    local started, beat = struct.unpack(VALUE, redis.call('HGET', values, id))
    redis.call('HSET', values, id, pack(started, beat, at))
    went(facility, id, started, at)
  end
  ended = ended + #over / 2
  if #over > 0 then redis.call('ZREMRANGEBYRANK', deadlines, 0, #over / 2 - 1) end
  local first = redis.call('ZRANGE', deadlines, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', DEADLINES, first[2], facility)
  else
    redis.call('ZREM', DEADLINES, facility)
  end
end
return { ended, #due == tonumber(ARGV[4]) and 1 or 0 }
