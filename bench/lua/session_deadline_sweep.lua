local due = redis.call('ZRANGE', DEADLINES, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4], 'WITHSCORES')
for i = 1, #due, 2 do
  local facility, id = string.match(due[i], '^(.-)/(.*)$')
  local values, at = 'sessions:' .. tag .. ':' .. facility, tonumber(due[i + 1])
  local started, beat = struct.unpack(VALUE, redis.call('HGET', values, id))
  redis.call('HSET', values, id, pack(started, beat, at))
  went(facility, id, started, at)
end
if #due > 0 then redis.call('ZREMRANGEBYRANK', DEADLINES, 0, #due / 2 - 1) end
return { #due / 2, #due / 2 == tonumber(ARGV[4]) and 1 or 0 }
