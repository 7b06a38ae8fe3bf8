-- Prelude: put in front of every script of this folder. It names KEYS, packs and unpacks values,
-- and holds the two transitions of a facility, so that each rule stands once.
--
-- KEYS[1] deadlines   KEYS[2] facilities   KEYS[3] changes   KEYS[4] ended
-- KEYS[5] ended-ids   KEYS[6] watermark    (see keys.py)
-- ARGV[1] hash tag of the partition, e.g. {p03}
-- ARGV[2] session TTL in ms
-- ARGV[3] leave grace in ms
-- Further ARGV: each script's own.

local DEADLINES, FACILITIES, CHANGES = KEYS[1], KEYS[2], KEYS[3]
local ENDED_STREAM, ENDED_IDS, WATERMARK = KEYS[4], KEYS[5], KEYS[6]
local tag, ttl, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Offline gaps shorter than this may be left out (contract, rule 5).
local SHORTEST_GAP = 5000
-- The session-list key outlives its deadline: of a session that said goodbye so little that its notification finds the
-- watermark past it; of the others so long that the sweep, which moves it, has come before (see `expire_at`).
local LEAVE_SLACK, SWEEP_SLACK = 500, 5000

local ONLINE, EXPIRED, LEFT, ENDED, PENDING = 0, 1, 2, 3, 4
-- PENDING: only `leaving` was heard so far; remembered because an earlier heartbeat may still be on its way.
local LOGGED = 128 -- added to an ended state once SQL holds it
-- Stands for the unknown sessions of a facility restored from SQL (see restore.lua); never logged.
local NAMELESS = '/'
local REASON = { [0] = 'heartbeat', 'expired', 'left', 'ended' }

-- A facility's session values hold one field more, which is no session, so that a heartbeat reads and writes one key: its
-- newest receivedAt, the minute (since 1970) whose heartbeats wait here (see activity.lua), how many wait, and the
-- earliest deadline that its session-list keys stand for.
local HEARD, HEARD_VALUE = '.', '>I6I4I4I6'
-- Session value: started, last beat, last leave, ended (ms; 0 = none), state.
-- While online, `ended` holds the end of the session's previous life, below which its start must not move.
local SESSION = '>I6I6I6I6B'
-- Facility state: status (1 online), since, version, online sessions, reason, newest end, its reason.
local FACILITY = '>BI6I6I4BI6B'

-- Returns how many sessions a facility's packed state counts; cheaper than unpacking it.
local function sessions_of(raw) return (struct.unpack('>I4', raw, 14)) end

local function sessions_key(facility) return 'sessions:' .. tag .. ':' .. facility end

local function unpack_heard(raw)
  if not raw then return 0, 0, 0, 0 end
  return struct.unpack(HEARD_VALUE, raw)
end

local function pack_heard(newest, minute, waiting, listed)
  return struct.pack(HEARD_VALUE, newest, minute, waiting, listed)
end

local function heard_of(facility) return unpack_heard(redis.call('HGET', sessions_key(facility), HEARD)) end

local function listing_key(facility, id) return 'session:' .. tag .. ':' .. facility .. '/' .. id end

-- Has the session-list key expire after a deadline. It is not moved with every heartbeat: like the deadline of its
-- facility, it is set anew when the sweep (or its own notification) comes by and finds the session alive.
local function expire_at(facility, id, due, slack)
  redis.call('SET', listing_key(facility, id), '', 'PXAT', due + slack)
end

-- Calls send(...) with many arguments, a thousand at a time: many more do not fit on Lua's stack.
local function in_pieces(arguments, send)
  for first = 1, #arguments, 1000 do send(unpack(arguments, first, math.min(first + 999, #arguments))) end
end

-- Calls see(id, started, beat, leave, ended, state) for each session of a list that HGETALL gave of session values.
local function each_session(flat, see)
  for i = 1, #flat, 2 do
    if flat[i] ~= HEARD then see(flat[i], struct.unpack(SESSION, flat[i + 1])) end
  end
end

local function watermark() return tonumber(redis.call('GET', WATERMARK) or '0') end

-- Contract, rule 2: the message with the greatest receivedAt decides; at a tie `leaving` does.
local function deadline(beat, leave)
  if leave >= beat then return leave + grace, LEFT end
  return beat + ttl, EXPIRED
end

-- When no message older than the watermark could bring an ended session back any more.
local function forgettable_at(beat, leave, over) return math.max(beat, leave, over) + ttl end

-- The version of a facility without a state: 0, and after a loss of data more than any that was lost (see restore.lua).
local VERSION_BASE = 'version-base:' .. tag

local function load_facility(facility)
  local raw = redis.call('HGET', FACILITIES, facility)
  if not raw then
    local version = tonumber(redis.call('GET', VERSION_BASE) or '0')
    return { online = 0, since = 0, version = version, sessions = 0, reason = 0, end_at = 0, end_reason = 0 }
  end
  local online, since, version, sessions, reason, end_at, end_reason = struct.unpack(FACILITY, raw)
  return { online = online, since = since, version = version, sessions = sessions, reason = reason,
           end_at = end_at, end_reason = end_reason }
end

local function save_facility(facility, state)
  redis.call('HSET', FACILITIES, facility, struct.pack(FACILITY, state.online, state.since, state.version,
    state.sessions, state.reason, state.end_at, state.end_reason))
end

-- What `alert.lua` decides about: who is offline since when and not announced (OFFLINE), who was announced (ALERTED),
-- and who is back after that, which is still to be announced (RECOVERED). A facility is in at most one of them.
local OFFLINE, ALERTED, RECOVERED = 'offline:' .. tag, 'alerted:' .. tag, 'recovered:' .. tag

local function note_for_alerts(facility, online, since)
  if online == 0 then
    -- Gone again before its recovery was announced: then it has never come back, as far as anybody was told.
    local announced = redis.call('ZREM', RECOVERED, facility) == 1
    redis.call('ZADD', announced and ALERTED or OFFLINE, since, facility)
  elseif redis.call('ZREM', OFFLINE, facility) == 0 and redis.call('ZREM', ALERTED, facility) == 1 then
    redis.call('ZADD', RECOVERED, since, facility)
  end
end

local function forget_for_alerts(facility)
  for _, key in ipairs({ OFFLINE, ALERTED, RECOVERED }) do redis.call('ZREM', key, facility) end
end

-- Makes one numbered transition and appends it to the stream; returns how many were appended.
-- `since` never goes back. Sessions of nobody's facility ('') are kept, but nothing is announced of them.
local function turn(facility, state, online, at, reason, sessions)
  local turned = state.online ~= online
  state.online, state.reason = online, reason
  state.since = math.max(at, state.since)
  state.version = state.version + 1
  if facility == '' then return 0 end
  if turned then note_for_alerts(facility, online, state.since) end
  redis.call('XADD', CHANGES, '*', 'kind', 'status', 'facility', facility,
    'status', online == 1 and 'online' or 'offline', 'since', state.since, 'version', state.version,
    'sessions', sessions, 'reason', REASON[reason])
  return 1
end

local function note_end(state, at, reason)
  if at >= state.end_at then state.end_at, state.end_reason = at, reason end
end

-- Agents are followed from this stream: every presence that begins or ends, in the order decided here. One field,
-- facility/user/session/moment/reason, because each of them costs Redis more than a slash.
local function tell_presence(kind, facility, id, at, reason)
  redis.call('XADD', 'presence:' .. tag, '*', kind, string.format('%s/%s/%.0f/%s', facility, id, at, reason))
end

local function log_end(facility, id, started, ended, reason)
  if id == NAMELESS then return end
  tell_presence('ended', facility, id, ended, REASON[reason])
  redis.call('XADD', ENDED_STREAM, '*', 'facility', facility, 'id', id, 'started', started, 'ended', ended,
    'reason', REASON[reason])
end
