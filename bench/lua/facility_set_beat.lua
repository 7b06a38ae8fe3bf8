-- A hash per facility holds the values, a sorted set per facility the deadlines of its sessions, and one sorted set
-- the earliest deadline of every facility. That last one is moved only by a session that comes, and by the sweep.
for _, group in ipairs(cmsgpack.unpack(ARGV[3])) do
  local values, deadlines = 'sessions:' .. tag .. ':' .. group[1], 'deadlines:' .. tag .. ':' .. group[1]
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
      redis.call('ZADD', deadlines, at + ttl, id)
    end
  end
  if look_at then redis.call('ZADD', DEADLINES, 'LT', look_at, group[1]) end
end
