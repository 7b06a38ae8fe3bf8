-- A key per session holds its value; one sorted set holds the deadline of every session.
for _, group in ipairs(cmsgpack.unpack(ARGV[3])) do
  for _, message in ipairs(group[2]) do
    local member, at = group[1] .. '/' .. message[1], message[2]
    local key = 'session:' .. tag .. ':' .. member
    local raw = redis.call('GET', key)
    local started, beat, ended = at, 0, 0
    if raw then started, beat, _, ended = struct.unpack(VALUE, raw) end
    if at > beat then
      if not raw or ended > 0 then
        started = at
        came(group[1])
      end
      redis.call('SET', key, pack(started, at, 0))
      redis.call('ZADD', DEADLINES, at + ttl, member)
    end
  end
end
