-- Put behind activity.lua: sessions whose deadline has passed, ended facility by facility, each at its deadline.

-- Values looked at in one call, as far as whole facilities allow, and sessions ended: Redis answers nobody meanwhile, and
-- a thousand sessions that end take it 20 ms.
local ENOUGH = 1000

local function by_deadline(a, b)
  if a.due ~= b.due then return a.due < b.due end
  return a.id < b.id
end

-- Returns the sessions that are over at `reached`, the first `ENOUGH` of them, and when the earliest of the others began and
-- must next be looked at. `hold_until`: while this moment (ms) is ahead nobody expires, 0 without a hold. `forgotten`: up
-- to when values that tell nobody's presence any more may go. Moves the session-list keys of those who stay on when the
-- first of them has come to its time, which is about once a TTL however often somebody else's end has the facility
-- visited.
local function examine(facility, reached, hold_until, forgotten)
  local values = sessions_key(facility)
  local over, gone, began, look_at = {}, {}, nil, nil
  local newest, minute, waiting, listed = heard_of(facility)
  local moves, listed_next = reached >= listed, nil
  local function look(at) look_at = math.min(look_at or at, at) end
  local function forget(id, at)
    if at <= forgotten then gone[#gone + 1] = id else look(math.max(at, hold_until, reached + 1)) end
  end

  each_session(redis.call('HGETALL', values), function(id, started, beat, leave, ended, life)
    if life == ONLINE then
      local due, reason = deadline(beat, leave)
      local held = reason == EXPIRED and hold_until > 0
      if due <= reached and not held then
        over[#over + 1] = { id = id, started = started, beat = beat, leave = leave, due = due, reason = reason }
      else
        began = math.min(began or started, started)
        if held then due = math.max(due, hold_until, reached + 1) end
        look(due)
        if moves and id ~= NAMELESS then
          expire_at(facility, id, due, reason == LEFT and LEAVE_SLACK or SWEEP_SLACK)
          listed_next = math.min(listed_next or due, due)
        end
      end
    elseif life == PENDING then
      forget(id, leave + ttl)
    elseif life >= LOGGED then
      forget(id, forgettable_at(beat, leave, ended))
    end
  end)
  in_pieces(gone, function(...) redis.call('HDEL', values, ...) end)
  if moves and listed_next then
    redis.call('HSET', values, HEARD, pack_heard(newest, minute, waiting, listed_next))
  elseif began and not moves then
    look(listed)
  end
  table.sort(over, by_deadline)
  for i = #over, ENOUGH + 1, -1 do
    local session = table.remove(over)
    began = math.min(began or session.started, session.started)
    look(session.due)
  end
  return over, began, look_at
end

-- Ends the given sessions of a facility in order; where nobody was there for a while in between, the facility
-- was offline for that while. `began` is when the earliest remaining session began, nil without any.
local function finish(facility, over, began)
  local values, state, changes = sessions_key(facility), load_facility(facility), 0
  local ended, listed, counts = {}, {}, {}
  local next_began = {}
  local earliest = began
  for i = #over, 1, -1 do
    next_began[i] = earliest or false
    earliest = math.min(earliest or over[i].started, over[i].started)
  end

  for i, session in ipairs(over) do
    if session.id == NAMELESS then
      redis.call('HDEL', values, NAMELESS)
    else
      ended[#ended + 1] = session.id
      ended[#ended + 1] = struct.pack(SESSION, session.started, session.beat, session.leave, session.due, session.reason)
      listed[#listed + 1] = listing_key(facility, session.id)
      local kind, minute = KIND_OF_END[session.reason], floor(session.due / MINUTE)
      counts[kind] = counts[kind] or {}
      counts[kind][minute] = (counts[kind][minute] or 0) + 1
    end
    log_end(facility, session.id, session.started, session.due, session.reason)
    local next_start = next_began[i]
    -- Whoever was heard since the loss never ended: they go on in the place of the nameless, without a gap.
    local goes_on = session.id == NAMELESS and next_start
    if not goes_on then note_end(state, session.due, session.reason) end
    state.sessions = state.sessions - 1

    local empty = not next_start
    local gap = next_start and not goes_on and next_start - state.end_at >= SHORTEST_GAP and state.end_at >= state.since
    if state.online == 1 and (empty or gap) then
      changes = changes + turn(facility, state, 0, state.end_at, state.end_reason, 0)
    end
    if state.online == 0 and gap then
      changes = changes + turn(facility, state, 1, next_start, 0, state.sessions)
    end
  end
  in_pieces(ended, function(...) redis.call('HSET', values, ...) end)
  in_pieces(listed, function(...) redis.call('UNLINK', ...) end)
  for kind, minutes in pairs(counts) do
    for minute, amount in pairs(minutes) do count(facility, minute, kind, amount) end
  end
  save_facility(facility, state)
  return changes
end

-- Visits a facility: ends who is over and sets its next deadline; returns how many ended and how many status changes
-- that made. The arguments are those of `examine`.
local function visit(facility, reached, hold_until, forgotten)
  local over, began, look_at = examine(facility, reached, hold_until, forgotten)
  local changes = #over > 0 and finish(facility, over, began) or 0
  if look_at then
    redis.call('ZADD', DEADLINES, look_at, facility)
  else
    redis.call('ZREM', DEADLINES, facility)
  end
  return #over, changes
end
