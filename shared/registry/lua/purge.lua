-- Lets go of ended sessions that SQL now holds: at once where no late message could bring them back any more,
-- otherwise when the sweep finds that moment passed.
--
-- ARGV[4…] triples: facility, user/session, end in ms as logged
-- Returns the number of values deleted now. A session that has come back since is left alone.

local decided, deleted = watermark(), 0
for i = 4, #ARGV, 3 do
  local facility, id, logged = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local values = sessions_key(facility)
  local raw = redis.call('HGET', values, id)
  if raw then
    local started, beat, leave, over, life = struct.unpack(SESSION, raw)
    if over == logged and life ~= ONLINE and life ~= PENDING then
      local at = forgettable_at(beat, leave, over)
      if at <= decided then
        redis.call('HDEL', values, id)
        deleted = deleted + 1
      elseif life < LOGGED then
        redis.call('HSET', values, id, struct.pack(SESSION, started, beat, leave, over, life + LOGGED))
        redis.call('ZADD', DEADLINES, 'LT', at, facility)
      end
    end
  end
end
return deleted
