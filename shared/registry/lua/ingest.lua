-- Applies heartbeats to the sessions and facilities of one partition. Any order and any repetition give the
-- same states (contract, rules 2, 4 and 5).
--
-- ARGV[4] msgpack, one flat list, because a table per heartbeat costs more than what is done with it: for each
-- facility its id and how many heartbeats follow; for each of these user/session, receivedAt in ms, and a sum of
-- 1 if it is leaving and 2 if it says an agent status.
-- ARGV[5…8] where the stream gives them: its name, the positions of the first and the last, the newest receivedAt;
--           absent where that is not known
-- Returns {applied, duplicates, late, ended, changes, began, unsaid}: heartbeats that told something new, that told
-- nothing new, whose own deadline was behind the watermark, whose session was ended by command; status changes
-- appended; presences that began; [user/session, receivedAt ms, …] of the agent statuses that do not count: those
-- not said in the present life of a session that is online.

local decided = watermark()
local applied, duplicates, late, ended, changes, began = 0, 0, 0, 0, 0, 0
local unsaid = {}
local fresh = is_first_reading(ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
if fresh == 'partly' then return redis.error_reply('STRADDLE the position of ' .. ARGV[5] .. ' is between these') end

local words, next_word = cmsgpack.unpack(ARGV[4]), 1

while words[next_word] do
  local facility, first = words[next_word], next_word + 2
  next_word = first + 3 * words[next_word + 1]
  local values = sessions_key(facility)
  local state = nil
  local newest, look_at = 0, nil
  local beats, beats_at = 0, 0
  local heard = nil
  -- The newest value waits for the next message, so that the last one is written together with HEARD.
  local held_id, held = nil, nil

  for word = first, next_word - 1, 3 do
    local id, at, leaving, says = words[word], words[word + 1], words[word + 2] % 2 == 1, words[word + 2] >= 2
    local raw
    if word == first then
      heard, raw = unpack(redis.call('HMGET', values, HEARD, id))
    else
      if held then redis.call('HSET', values, held_id, held) end
      held = nil
      raw = redis.call('HGET', values, id)
    end
    local started, beat, leave, over, life = 0, 0, 0, 0, PENDING
    if raw then started, beat, leave, over, life = struct.unpack(SESSION, raw) end
    local over_at = life == ONLINE and deadline(beat, leave) or math.huge
    if over_at <= decided then
      -- Its end is decided, only the sweep has not come by yet.
      if state then save_facility(facility, state) end
      repeat
        local ended_here, changes_here = visit(facility, over_at, 0, math.min(over_at, decided))
        changes = changes + changes_here
      until ended_here < ENOUGH
      state = nil
      heard, raw = unpack(redis.call('HMGET', values, HEARD, id))
      started, beat, leave, over, life = struct.unpack(SESSION, raw)
    end
    -- One that is online was not ended by command, or began after the end of the block.
    local until_at = (life ~= ONLINE or at < started) and redis.call('ZSCORE', ENDED_IDS, id)
    local beat_before, applied_before, barred = beat, applied, until_at and at <= tonumber(until_at)
    if not leaving and not barred and at > newest then newest = at end

    if barred then
      ended = ended + 1
    elseif (leaving and at <= leave) or (not leaving and at <= beat and (at >= started or at < over)) then
      duplicates = duplicates + 1
    else
      local was_online = life == ONLINE
      if leaving then
        leave = math.max(leave, at)
      elseif was_online then
        -- A message older than its known beginning moves that back (never into its previous life, see above).
        started = math.min(started, at)
        beat = math.max(beat, at)
      else
        beat = math.max(beat, at)
      end
      local due = deadline(beat, leave)

      if was_online then
        applied = applied + 1
        held_id, held = id, struct.pack(SESSION, started, beat, leave, over, ONLINE)
        if leaving then
          expire_at(facility, id, due, LEAVE_SLACK)
          look_at = math.min(look_at or due, due)
        end
      elseif leaving then
        -- Not online: nothing happens now, but an earlier heartbeat may still arrive and must find this leave.
        if at + ttl > decided then
          applied = applied + 1
          held_id, held = id, struct.pack(SESSION, started, beat, leave, over, life)
          if life == PENDING then look_at = math.min(look_at or leave + ttl, leave + ttl) end
        else
          late = late + 1
        end
      elseif at < beat or due <= decided then
        late = late + 1
      else
        applied = applied + 1
        began = began + 1
        started, life = math.max(at, over), ONLINE
        held_id, held = id, struct.pack(SESSION, started, beat, leave, over, ONLINE)
        expire_at(facility, id, due, SWEEP_SLACK)
        tell_presence('began', facility, id, started, 'heartbeat')
        count(facility, floor(started / MINUTE), 's', 1)
        look_at = math.min(look_at or due, due)
        state = state or load_facility(facility)
        state.sessions = state.sessions + 1
        if state.online == 0 then
          changes = changes + turn(facility, state, 1, started, 0, state.sessions)
        end
      end
    end
    if says and (life ~= ONLINE or barred or at < started) then
      unsaid[#unsaid + 1], unsaid[#unsaid + 2] = id, at
    end

    -- Activity: each accepted heartbeat once. Given again by the stream it does not count; where the stream does not
    -- say, only what told something new counts.
    if not leaving and not barred and (fresh and at ~= beat_before or fresh == nil and applied > applied_before) then
      local minute = floor(at / MINUTE)
      if minute ~= beats_at then
        if beats > 0 then count(facility, beats_at, 'b', beats) end
        beats, beats_at = 0, minute
      end
      beats = beats + 1
      if floor(minute / 60) ~= floor(beat_before / HOUR) then count_user(facility, id, at, beat_before) end
    end
  end

  heard = hear(heard, facility, newest, beats_at, beats)
  if held and heard then
    redis.call('HSET', values, held_id, held, HEARD, heard)
  elseif held then
    redis.call('HSET', values, held_id, held)
  elseif heard then
    redis.call('HSET', values, HEARD, heard)
  end
  if state then save_facility(facility, state) end
  if look_at then redis.call('ZADD', DEADLINES, 'LT', look_at, facility) end
end

return { applied, duplicates, late, ended, changes, began, unsaid }
