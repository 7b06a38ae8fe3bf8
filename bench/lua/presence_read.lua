-- Who is present in a channel; whoever lapsed is purged now, and only now. Without the head.
--
-- KEYS[1] sorted set   KEYS[2] hash   ARGV[1] now (s)
-- Returns {purged, present}
local lapsed = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE')
if #lapsed > 0 then
  redis.call('HDEL', KEYS[2], unpack(lapsed))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
end
return { #lapsed, redis.call('HLEN', KEYS[2]) }
