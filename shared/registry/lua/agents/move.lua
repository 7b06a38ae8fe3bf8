-- Tells that agents are not in some regions any more: the admins there lose them, those of their regions now see them.
--
-- ARGV[2] now in ms   ARGV[3] msgpack: [[user, bucket, regions left, joined by /; '' for none], …]
-- Returns how many of them are online, and so were told of.
--
-- A status is announced again with a later `since` where a region was left: an admin of both an old and a new region
-- hears `offline` for the one, and must not take it for the last word.

local now, told = tonumber(ARGV[2]), 0
for _, move in ipairs(cmsgpack.unpack(ARGV[3])) do
  local user, bucket, left = move[1], move[2], move[3]
  local agent = load_agent(bucket, user)
  if agent.presences ~= '' then
    told = told + 1
    if left ~= '' then
      local at = math.max(now, agent.since + 1)
      redis.call('XADD', URGENT, '*', 'kind', 'status', 'user', user, 'status', STATUS[0], 'since', at, 'regions', left)
      agent.since = at + 1
      save_agent(bucket, user, agent)
    end
    announce(URGENT, user, agent.status, agent.since)
  end
end
return told
