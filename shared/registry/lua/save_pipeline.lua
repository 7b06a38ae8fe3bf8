-- Replaces the state of the pipeline, unless another process has done so since it was read; announces staleness.
--
-- KEYS[1] pipeline   KEYS[2] stream for every region (one slot, see keys.py)
-- ARGV[1] swept_at as it was read, '' for none, '*' to replace whatever is there
-- ARGV[2] msgpack: [field, value, …] of the new state
-- ARGV[3] msgpack: [field, value, …] of the announcement; empty for none
-- Returns 1 when replaced, 0 when somebody else was first.

if ARGV[1] ~= '*' and (redis.call('HGET', KEYS[1], 'swept_at') or '') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(cmsgpack.unpack(ARGV[2])))
local announcement = cmsgpack.unpack(ARGV[3])
if #announcement > 0 then redis.call('XADD', KEYS[2], '*', unpack(announcement)) end
return 1
