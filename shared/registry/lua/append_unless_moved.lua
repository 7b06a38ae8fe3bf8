-- Appends entries to a stream, unless somebody else has appended since the caller looked.
--
-- KEYS[1] stream   ARGV[1] its newest entry as the caller saw it, '' for none
-- ARGV[2…] msgpack, one for each entry: [field, value, …]
-- Returns 1 when appended, 0 when the caller has to look again.

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (newest and newest[1] or '') ~= ARGV[1] then return 0 end
for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', unpack(cmsgpack.unpack(ARGV[i]))) end
return 1
