-- Rebuilds facilities of one partition from SQL after Redis lost its data; what is already there stays.
--
-- ARGV[4] moment of the loss in ms
-- ARGV[5] msgpack: [[facility, online 0|1, since ms, version, reason code], …]; versions with their jump already made
-- Returns the number of facilities restored.
--
-- A facility that was online gets one nameless presence that ended at the loss: until the end of the hold it keeps
-- the facility online, so that whoever is heard meanwhile continues it without a gap.

local loss, restored = tonumber(ARGV[4]), 0
for _, row in ipairs(cmsgpack.unpack(ARGV[5])) do
  local facility, online, since, version, reason = row[1], row[2], row[3], row[4], row[5]
  if redis.call('HEXISTS', FACILITIES, facility) == 0 then
    restored = restored + 1
    save_facility(facility, { online = online, since = since, version = version, sessions = online,
      reason = reason, end_at = online == 1 and 0 or since, end_reason = reason })
    if online == 1 then
      redis.call('HSET', sessions_key(facility), NAMELESS,
        struct.pack(SESSION, math.min(since, loss), loss - ttl, 0, 0, ONLINE))
      redis.call('ZADD', DEADLINES, 'LT', loss, facility)
    end
  end
end
return restored
