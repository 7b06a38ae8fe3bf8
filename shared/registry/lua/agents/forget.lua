-- Forgets agents who spoke before this moment and never came: nothing but their words is held of them.
--
-- ARGV[2] moment in ms   ARGV[3…] pairs: bucket, user
-- Returns how many were forgotten.

local before, forgotten = tonumber(ARGV[2]), 0
for i = 3, #ARGV, 2 do
  local bucket, user = ARGV[i], ARGV[i + 1]
  local agent = load_agent(bucket, user)
  if agent.presences == '' and agent.said < before then
    forgotten = forgotten + redis.call('HDEL', bucket_key(bucket), user)
  end
end
return forgotten
