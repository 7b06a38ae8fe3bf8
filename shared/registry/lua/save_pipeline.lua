-- Replaces the state of the pipeline, unless another process has done so since it was read; announces staleness.
--
-- KEYS[1] pipeline   KEYS[2] stream for every region (one slot, see keys.py)
-- ARGV[1] swept_at as it was read, '' for none, '*' to replace whatever is there
-- ARGV[2] msgpack: [field, value, …] of the new state
-- ARGV[3] '1' to announce that what is shown is stale, '0' that it is current again; absent for no announcement
-- ARGV[4] since when, in ms   ARGV[5] the cause
-- Returns 1 when replaced, 0 when somebody else was first.
--
-- The field `announced` says since when clients were told it is stale, until that is taken back: the announcement
-- which does so names it, so that it says by itself which period it ends.

if ARGV[1] ~= '*' and (redis.call('HGET', KEYS[1], 'swept_at') or '') ~= ARGV[1] then return 0 end
local announced = redis.call('HGET', KEYS[1], 'announced')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(cmsgpack.unpack(ARGV[2])))
if ARGV[3] then
  local entry = {'kind', 'stale', 'stale', ARGV[3], 'since', ARGV[4], 'cause', ARGV[5]}
  if ARGV[3] == '1' then
    announced = ARGV[4]
  elseif announced then
    entry[#entry + 1], entry[#entry + 2] = 'began', announced
    announced = false
  end
  redis.call('XADD', KEYS[2], '*', unpack(entry))
end
if announced then redis.call('HSET', KEYS[1], 'announced', announced) end
return 1
