-- Put in front of the layouts' scripts: the session value of the product, and a roll-up per facility, alike in all.
--
-- ARGV[1] hash tag   ARGV[2] session TTL in ms   Further ARGV: each script's own.
-- `…_beat`: ARGV[3] msgpack [[facility, [[user/session, receivedAt], …]], …]
-- `…_sweep`: ARGV[3] watermark in ms, ARGV[4] most entries to visit; returns {ended, 1 when there is more}

local tag, ttl = ARGV[1], tonumber(ARGV[2])
local DEADLINES, COUNTS = 'deadlines:' .. tag, 'counts:' .. tag
local CHANGES, ENDED = 'changes:' .. tag, 'ended:' .. tag
local VALUE = '>I6I6I6I6B'

local function pack(started, beat, ended) return struct.pack(VALUE, started, beat, 0, ended, ended > 0 and 1 or 0) end

local function came(facility)
  if redis.call('HINCRBY', COUNTS, facility, 1) == 1 then redis.call('XADD', CHANGES, '*', 'online', facility) end
end

local function went(facility, id, started, at)
  redis.call('XADD', ENDED, '*', 'facility', facility, 'id', id, 'started', started, 'ended', at)
  if redis.call('HINCRBY', COUNTS, facility, -1) == 0 then redis.call('XADD', CHANGES, '*', 'offline', facility) end
end
