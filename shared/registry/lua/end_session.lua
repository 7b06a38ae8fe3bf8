-- Ends one session by command at the given moment, at every facility named, and keeps it ended.
--
-- ARGV[4] user/session   ARGV[5] now in ms   ARGV[6] until when nothing brings it back, in ms
-- ARGV[7…] facilities of this partition
-- Returns {ended, changes}: presences ended, status changes appended. A session that is not there ends nothing.

local id, now, until_at = ARGV[4], tonumber(ARGV[5]), ARGV[6]
redis.call('ZADD', ENDED_IDS, 'GT', until_at, id)

local ended, changes = 0, 0
for i = 7, #ARGV do
  local facility = ARGV[i]
  local values = sessions_key(facility)
  local raw = redis.call('HGET', values, id)
  local started, beat, leave, over, life
  if raw then started, beat, leave, over, life = struct.unpack(SESSION, raw) end
  if life == ONLINE then
    local at = math.max(now, started)
    ended = ended + 1
    redis.call('HSET', values, id, struct.pack(SESSION, started, beat, leave, at, ENDED))
    redis.call('UNLINK', listing_key(facility, id))
    log_end(facility, id, started, at, ENDED)
    count(facility, floor(at / MINUTE), 'e', 1)
    local state = load_facility(facility)
    note_end(state, at, ENDED)
    state.sessions = state.sessions - 1
    if state.sessions == 0 and state.online == 1 then
      changes = changes + turn(facility, state, 0, state.end_at, state.end_reason, 0)
    end
    save_facility(facility, state)
  elseif life == PENDING then
    redis.call('HDEL', values, id)
  end
end
return { ended, changes }
