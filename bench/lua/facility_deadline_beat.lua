-- A hash per facility holds the values, which tell the deadlines too; one sorted set holds when each facility must
-- next be looked at. With ARGV[4] = 1 a session also has a key that expires after its deadline.
local with_key = ARGV[4] == '1'
for _, group in ipairs(cmsgpack.unpack(ARGV[3])) do
  local values = 'sessions:' .. tag .. ':' .. group[1]
  local look_at = nil
  for _, message in ipairs(group[2]) do
    local id, at = message[1], message[2]
    local raw = redis.call('HGET', values, id)
    local started, beat, ended = at, 0, 0
    if raw then started, beat, _, ended = struct.unpack(VALUE, raw) end
    if at > beat then
      if not raw or ended > 0 then
        started = at
        came(group[1])
        look_at = math.min(look_at or at + ttl, at + ttl)
      end
      redis.call('HSET', values, id, pack(started, at, 0))
      if with_key then
        redis.call('SET', 'session:' .. tag .. ':' .. group[1] .. '/' .. id, '', 'PXAT', at + ttl + 500)
      end
    end
  end
  if look_at then redis.call('ZADD', DEADLINES, 'LT', look_at, group[1]) end
end
