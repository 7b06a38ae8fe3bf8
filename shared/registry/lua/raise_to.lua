-- Raises fields of a hash, none of which ever goes down: who was slow must not undo what another has written meanwhile.
--
-- KEYS[1] hash   ARGV field, whole number, …

for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or tonumber(held) < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
