-- Takes note that SQL holds what `due_activity` told; what was counted meanwhile stays due. An hour that is over
-- and written goes.
--
-- ARGV[4] now in ms   ARGV[5] how long after its end an hour is kept, in ms
-- ARGV[6] msgpack: [[<hour>/<facility>, epoch or 0, sum of the counts told as written before,
--         [[field, amount written now], …]], …]
-- Returns the number of hours that went. Where somebody else has settled or sealed the same hour meanwhile, nothing is
-- done.

local now, keep, gone = tonumber(ARGV[4]), tonumber(ARGV[5]), 0

local function settle(member, told, before, written)
  local hour, epoch, facility = parse_due(member)
  local key, counts, settled, rest = activity_key(epoch and hour .. '~' .. epoch or hour, facility), {}, 0, 0
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local field, amount = flat[i], tonumber(flat[i + 1])
    counts[field] = amount
    if string.match(field, '^%d+%u$') then settled = settled + amount end
    if string.match(field, '^%d+%l$') then rest = rest + amount end
  end
  if (counts.epoch or 0) ~= told or settled ~= before then return end

  if epoch then
    redis.call('UNLINK', key)
    redis.call('ZREM', ACTIVITY_DUE, member)
    gone = gone + 1
    return
  end
  for _, one in ipairs(written) do
    local field, amount = one[1], one[2]
    if counts[field] == amount then
      redis.call('HDEL', key, field)
    else
      redis.call('HINCRBY', key, field, -amount)
    end
    redis.call('HINCRBY', key, string.upper(field), amount)
    rest = rest - amount
  end
  local _, minute, waiting = heard_of(facility)
  if rest > 0 or waiting > 0 and floor(minute / 60) == tonumber(hour) then return end

  local over = (hour + 1) * HOUR + keep
  if over > now then
    redis.call('ZADD', ACTIVITY_DUE, over, member)
    return
  end
  local day = floor(hour / 24)
  redis.call('UNLINK', key, hour_users_key(hour, facility))
  redis.call('ZREM', ACTIVITY_DUE, member)
  redis.call('ZADD', ACTIVITY_DUE, 'NX', (day + 1) * DAY + keep, 'day' .. day .. '/' .. facility)
  gone = gone + 1
end

for _, entry in ipairs(cmsgpack.unpack(ARGV[6])) do settle(unpack(entry)) end
return gone
