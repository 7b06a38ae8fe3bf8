-- Agents say what they are: the newest saying wins, whatever order it comes in; at a tie the greater status.
--
-- ARGV[2] 1 when only agents who are online may speak (a command), 0 when their session may still be on its way
-- ARGV[3] msgpack: [[user, bucket, at ms, status 1 available | 2 busy | 3 away], …]
-- Returns [online 0|1, status, since ms] for each, in order, as it is afterwards.

local commanded = ARGV[2] == '1'
local results = {}
for i, saying in ipairs(cmsgpack.unpack(ARGV[3])) do
  local user, bucket, at, status = saying[1], saying[2], saying[3], saying[4]
  local agent = load_agent(bucket, user)
  local online = agent.presences ~= ''
  local newer = at > agent.said or (at == agent.said and status > agent.status)
  if newer and (online or not commanded) then
    agent.said = at
    if agent.status ~= status then
      agent.status = status
      if online then
        agent.since = math.max(at, agent.since + 1)
        announce(URGENT, user, status, agent.since)
      end
    end
    save_agent(bucket, user, agent)
  end
  results[i] = { online and 1 or 0, agent.status, agent.since }
end
return results
