-- Put behind the prelude: counts what happens at a facility in the very script that makes it happen.
--
-- activity:{pNN}:<hour>:<facility>  hash of an hour's counts: <minute of the hour><kind>, and `epoch`.
--   A count that SQL does not hold yet stands under the small letter of its kind, one that it holds under the capital;
--   what happened is the sum of both. b heartbeats, s sessions started, x expired, l left, e ended by command.
--   The heartbeats of a facility's newest minute wait beside its session values instead, in the field HEARD, which is
--   written anyway (see `hear`).
--   `epoch` tells apart two hashes of the same hour: a late message may come after the first has gone to SQL for good.
-- activity:{pNN}:<hour>~<epoch>:<facility>  such a hash once it is sealed: nothing is counted in it any more.
-- users:{pNN}:<hour>:<facility>, users:{pNN}:day<day>:<facility>  HyperLogLog of the users heard.
-- activity-due:{pNN}  sorted set, <hour>/<facility> to the moment (ms) when it is to be written to SQL, or to go;
--   day<day>/<facility> to when its users may go; <hour>~<epoch>/<facility> of a sealed hash to 0.
-- read:{pNN}  hash, name of a stream (an Event Hubs partition) to <last position read>/<newest receivedAt read>.
-- Hours and days are numbered from 1970-01-01T00:00Z.

local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local ACTIVITY_DUE, READ = 'activity-due:' .. tag, 'read:' .. tag
local KIND_OF_END = { [EXPIRED] = 'x', [LEFT] = 'l', [ENDED] = 'e' }
local floor = math.floor

local function activity_key(hour, facility) return 'activity:' .. tag .. ':' .. hour .. ':' .. facility end
local function hour_users_key(hour, facility) return 'users:' .. tag .. ':' .. hour .. ':' .. facility end
local function day_users_key(day, facility) return 'users:' .. tag .. ':day' .. day .. ':' .. facility end

-- Returns what a member of ACTIVITY_DUE stands for: hour, epoch if it is sealed, facility, day; a day has no hour.
local function parse_due(member)
  local what, facility = string.match(member, '^([^/]+)/(.*)$')
  local day = string.match(what, '^day(%d+)$')
  if day then return nil, nil, facility, day end
  local hour, epoch = string.match(what, '^(%d+)~?(%d*)$')
  return hour, epoch ~= '' and epoch or nil, facility, nil
end

local function write_soon(facility, minute)
  redis.call('ZADD', ACTIVITY_DUE, 'LT', (minute + 1) * MINUTE, floor(minute / 60) .. '/' .. facility)
end

local function begin_epoch(key)
  local now = redis.call('TIME')
  redis.call('HSET', key, 'epoch', now[1] .. string.format('%06d', now[2]))
end

local function count(facility, minute, kind, amount)
  if facility == '' then return end
  local key = activity_key(floor(minute / 60), facility)
  if redis.call('HINCRBY', key, (minute % 60) .. kind, amount) == amount then
    -- The first since this minute was last written; those that follow need not ask for the next time.
    if redis.call('HLEN', key) == 1 then begin_epoch(key) end
    write_soon(facility, minute)
  end
end

-- Returns the value of HEARD once a facility was heard until `newest`, with that many heartbeats to be counted in a
-- minute; nil if that tells nothing new. `raw` is the value so far.
local function hear(raw, facility, newest, minute, beats)
  local known, waiting_minute, waiting, listed = unpack_heard(raw)
  if facility == '' or newest <= known and beats == 0 then return nil end
  if minute < waiting_minute and beats > 0 then
    count(facility, minute, 'b', beats)
  elseif beats > 0 then
    if minute > waiting_minute and waiting > 0 then
      count(facility, waiting_minute, 'b', waiting)
      waiting = 0
    end
    if waiting == 0 then
      -- Before any of them is counted: a copy of this data that Redis goes back to must count them in the same epoch.
      local key = activity_key(floor(minute / 60), facility)
      if redis.call('EXISTS', key) == 0 then begin_epoch(key) end
      write_soon(facility, minute)
    end
    waiting_minute, waiting = minute, waiting + beats
  end
  return pack_heard(math.max(known, newest), waiting_minute, waiting, listed)
end

-- Counts the heartbeats that wait.
local function settle_waiting(facility)
  local newest, minute, waiting, listed = heard_of(facility)
  if waiting > 0 then
    count(facility, minute, 'b', waiting)
    redis.call('HSET', sessions_key(facility), HEARD, pack_heard(newest, minute, 0, listed))
  end
end

local function count_user(facility, id, at, heard)
  if facility == '' then return end
  local user = string.match(id, '^[^/]+')
  redis.call('PFADD', hour_users_key(floor(at / HOUR), facility), user)
  if floor(at / DAY) ~= floor(heard / DAY) then
    redis.call('PFADD', day_users_key(floor(at / DAY), facility), user)
  end
end

-- Returns whether a stream gives the messages from position `first` to `last` for the first time: true, false when it
-- repeats them, 'partly', nil when it has no name. Each answer of true is remembered.
local function is_first_reading(stream, first, last, newest)
  if not stream then return nil end
  local position, heard = string.match(redis.call('HGET', READ, stream) or '-1/0', '^(.+)/(.+)$')
  position, heard = tonumber(position), tonumber(heard)
  if first <= position and position < last then return 'partly' end
  -- What was read before is not newer than what was read before: the positions have begun anew with another hub.
  if last <= position and newest <= heard then return false end
  redis.call('HSET', READ, stream, string.format('%.0f/%.0f', last, math.max(newest, heard)))
  return true
end
