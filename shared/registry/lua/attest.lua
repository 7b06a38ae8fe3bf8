-- Says once more, in the stream of presences, how single presences stand: in the order of the stream that is safe
-- whatever happens meanwhile, which a comparison from outside never is.
--
-- ARGV[4…] triples: facility, user/session, now in ms
-- Returns how many were said to be there.

local there = 0
for i = 4, #ARGV, 3 do
  local facility, id, now = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local raw = redis.call('HGET', sessions_key(facility), id)
  local started, beat, leave, over, life
  if raw then started, beat, leave, over, life = struct.unpack(SESSION, raw) end
  if life and life >= LOGGED then life = life - LOGGED end
  if life == ONLINE then
    there = there + 1
    tell_presence('began', facility, id, started, 'heartbeat')
  elseif life == EXPIRED or life == LEFT or life == ENDED then
    tell_presence('ended', facility, id, over, REASON[life])
  else
    tell_presence('ended', facility, id, now, 'expired')
  end
end
return there
