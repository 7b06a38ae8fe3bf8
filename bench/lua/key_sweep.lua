local due = redis.call('ZRANGE', DEADLINES, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4], 'WITHSCORES')
for i = 1, #due, 2 do
  local key, at = 'session:' .. tag .. ':' .. due[i], tonumber(due[i + 1])
  local started, beat = struct.unpack(VALUE, redis.call('GET', key))
  redis.call('SET', key, pack(started, beat, at))
  local facility, id = string.match(due[i], '^(.-)/(.*)$')
  went(facility, id, started, at)
end
if #due > 0 then redis.call('ZREMRANGEBYRANK', DEADLINES, 0, #due / 2 - 1) end
return { #due / 2, #due / 2 == tonumber(ARGV[4]) and 1 or 0 }
