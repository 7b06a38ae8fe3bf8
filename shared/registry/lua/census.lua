-- Counts the online sessions of one partition that did not say goodbye, and those of them heard lately.
--
-- ARGV[4] watermark in ms   ARGV[5] a session is heard if its last beat is after this moment (ms)
-- ARGV[6] up to how many sessions each is looked at: of a larger partition a sample is, and the counts are scaled up
-- Returns {online, heard, due, exact, heard ids, silent ids}: `due` 1 when one of them has passed its deadline (from a
-- sample: when one may have). Ids (user/session) only where the count is exact, for sessions that several facilities
-- share.

local reached, heard_after, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- Facilities whose sizes are asked for; beyond, these stand for all.
local MOST = 4096
-- Draws of a sample, and sessions looked at for each. People fall silent by the facility, so many facilities say more than
-- many of a facility's sessions.
local DRAWS, SESSIONS = 32, 64

local online, heard, due, exact = 0, 0, 0, true
local heard_ids, silent_ids = {}, {}

-- Looks at about `most` of a facility's `size` online sessions, which stand for `weight` (nil: for themselves).
local function look(facility, size, most, weight)
  local values = sessions_key(facility)
  local stored, flat = redis.call('HLEN', values), nil
  -- Sessions that ended lie among the values, too.
  most = math.ceil(math.min(math.max(stored / size, 1), 8) * most)
  if stored <= most then
    flat = redis.call('HGETALL', values)
  else
    flat, exact = redis.call('HRANDFIELD', values, most, 'WITHVALUES'), false
  end
  local there, counted, lately = 0, 0, 0
  each_session(flat, function(id, _, beat, leave, _, life)
    if life ~= ONLINE then return end
    there = there + 1
    if beat <= leave or id == NAMELESS then return end
    counted = counted + 1
    if beat + ttl <= reached then due = 1 end
    if beat > heard_after then
      lately = lately + 1
      heard_ids[#heard_ids + 1] = id
    else
      silent_ids[#silent_ids + 1] = id
    end
  end)
  local each = (weight or there) / math.max(there, 1)
  online, heard = online + counted * each, heard + lately * each
end

-- The facilities that have somebody online, how many each, and all together.
local facilities, sizes, total = {}, {}, 0
local known = redis.call('HLEN', FACILITIES)
local states
if known <= MOST then
  states = redis.call('HGETALL', FACILITIES)
else
  states, exact = redis.call('HRANDFIELD', FACILITIES, MOST, 'WITHVALUES'), false
end
for i = 1, #states, 2 do
  local sessions = sessions_of(states[i + 1])
  if sessions > 0 then
    facilities[#facilities + 1], sizes[#sizes + 1] = states[i], sessions
    total = total + sessions
  end
end

if total <= limit then
  for i, facility in ipairs(facilities) do look(facility, sizes[i], limit, not exact and sizes[i] or nil) end
else
  -- Every so many sessions one is drawn, and with it its facility: so each has the chance and the weight of its size, and
  -- a large one, drawn several times, that of all its draws.
  exact = false
  math.randomseed(reached % 2147483647)
  local step = total / DRAWS
  local next_draw, passed = math.random() * step, 0
  for i, facility in ipairs(facilities) do
    passed = passed + sizes[i]
    local draws = 0
    while next_draw < passed do
      draws, next_draw = draws + 1, next_draw + step
    end
    if draws > 0 then look(facility, sizes[i], SESSIONS * draws, step * draws) end
  end
end

if known > MOST then online, heard = online * known / MOST, heard * known / MOST end
if not exact then
  heard_ids, silent_ids = {}, {}
  if #redis.call('ZRANGE', DEADLINES, '-inf', reached, 'BYSCORE', 'LIMIT', 0, 1) > 0 then due = 1 end
end
return { math.floor(online + 0.5), math.floor(heard + 0.5), due, exact and 1 or 0, heard_ids, silent_ids }
