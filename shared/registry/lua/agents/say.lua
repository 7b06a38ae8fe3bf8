-- Agents say what they are: the newest saying wins, whatever order it comes in; at a tie the greater status.
--
-- ARGV[2] 1 when only agents who are online may speak (a command), 0 when their session may still be on its way
-- ARGV[3] msgpack: [[user, bucket, at ms, status 1 available | 2 busy | 3 away], …]
-- Returns [online 0|1, status, since ms] for each command, in order, as it is afterwards; nothing without command.

local commanded = ARGV[2] == '1'
local results = {}

-- Says again what was said before, which most sayings do: only its time moves. Returns false for anything else.
local function repeated(key, user, raw, at, status)
  local flags, since, said = struct.unpack('>BI6I6', raw)
  if flags % 4 ~= status or flags % 8 < SAID then return false end
  if at > said then
    redis.call('HSET', key, user, string.sub(raw, 1, 7) .. struct.pack('>I6', at) .. string.sub(raw, 14))
  end
  return true
end

for i, saying in ipairs(cmsgpack.unpack(ARGV[3])) do
  local user, bucket, at, status = saying[1], saying[2], saying[3], saying[4]
  local key = bucket_key(bucket)
  local raw = not commanded and redis.call('HGET', key, user)
  if not (raw and #raw >= 13 and repeated(key, user, raw, at, status)) then
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
    if commanded then results[i] = { online and 1 or 0, agent.status, agent.since } end
  end
end
return results
