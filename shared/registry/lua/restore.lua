-- Rebuilds the facilities of one partition after Redis lost data: from SQL, and from what an older copy of the data
-- still holds. The newer state of each counts, by version.
--
-- ARGV[4] moment of the loss in ms   ARGV[5] how far versions jump, so that none is used twice
-- ARGV[6] msgpack: [[facility, online 0|1, since ms, version, reason code], …] as SQL has them
-- ARGV[7] version from which facilities go on that nobody knows any more; 0 at a first start
-- Returns the number of facilities.
--
-- Sessions of an older copy are forgotten: whether they live is what their next heartbeats tell. A facility that was
-- online gets one nameless presence that ended at the loss: until the end of the hold it keeps the facility online,
-- so that whoever is heard meanwhile continues it without a gap.

local loss, jump = tonumber(ARGV[4]), tonumber(ARGV[5])

for _, row in ipairs(cmsgpack.unpack(ARGV[6])) do
  local facility, online, since, version, reason = row[1], row[2], row[3], row[4], row[5]
  local held = redis.call('HEXISTS', FACILITIES, facility) == 1 and load_facility(facility).version or -1
  if version > held then
    save_facility(facility, { online = online, since = since, version = version, sessions = 0, reason = reason,
      end_at = online == 1 and 0 or since, end_reason = reason })
  end
end

-- Came online, and was told of, after the last run of the monitor: its versions must not begin again at 1.
local base = tonumber(ARGV[7])
if base > 0 then
  local held = tonumber(redis.call('GET', VERSION_BASE) or '0')
  redis.call('SET', VERSION_BASE, string.format('%.0f', math.max(base, held + jump)))
end

redis.call('UNLINK', DEADLINES)
local facilities = redis.call('HKEYS', FACILITIES)
for _, facility in ipairs(facilities) do
  local state, values = load_facility(facility), sessions_key(facility)
  local heard = redis.call('HGET', values, HEARD)
  redis.call('UNLINK', values)
  if heard then redis.call('HSET', values, HEARD, heard) end
  state.version, state.sessions = state.version + jump, state.online
  save_facility(facility, state)
  if state.online == 1 then
    redis.call('HSET', values, NAMELESS, struct.pack(SESSION, math.min(state.since, loss), loss - ttl, 0, 0, ONLINE))
    redis.call('ZADD', DEADLINES, loss, facility)
  end
end
return #facilities
