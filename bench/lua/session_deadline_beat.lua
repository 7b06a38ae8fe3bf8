-- A hash per facility holds the values; one sorted set holds the deadline of every session.
for _, group in ipairs(cmsgpack.unpack(ARGV[3])) do
  local values = 'sessions:' .. tag .. ':' .. group[1]
  for _, message in ipairs(group[2]) do
    local id, at = message[1], message[2]
    local raw = redis.call('HGET', values, id)
    local started, beat, ended = at, 0, 0
    if raw then started, beat, _, ended = struct.unpack(VALUE, raw) end
    if at > beat then
      if not raw or ended > 0 then
        started = at
        came(group[1])
      end
      redis.call('HSET', values, id, pack(started, at, 0))
      redis.call('ZADD', DEADLINES, at + ttl, group[1] .. '/' .. id)
    end
  end
end
