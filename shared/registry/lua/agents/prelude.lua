-- Prelude of the agents' scripts. Each works on one partition of users, by crc32 of the user id.
--
-- KEYS[1] urgent   KEYS[2] traffic   KEYS[3] progress  (see keys.py)
-- ARGV[1] hash tag of the partition, e.g. {u03}
-- Further ARGV: each script's own.

local URGENT, TRAFFIC, PROGRESS = KEYS[1], KEYS[2], KEYS[3]
local tag = ARGV[1]

local AVAILABLE = 1
local STATUS = { [0] = 'offline', 'available', 'busy', 'away' }

-- An agent is one hash entry: flags and status in one byte, since (ms), then only where it says something: when the
-- status was last said (ms), the newest end of a presence (ms). Then the presences, 8 bytes each: crc32 of the
-- facility, crc32 of the session. An entry without presences is an agent who spoke before their session is known here.
local SAID, OVER = 4, 8
local PRESENCE = 8

-- Small hashes stay packed in Redis, which halves what an agent costs.
local function bucket_key(bucket) return 'agents:' .. tag .. ':' .. bucket end

local function load_agent(bucket, user)
  local raw = redis.call('HGET', bucket_key(bucket), user)
  local agent = { status = AVAILABLE, since = 0, said = 0, over = 0, presences = '' }
  if not raw then return agent end
  local flags, since, position = struct.unpack('>BI6', raw)
  agent.status, agent.since = flags % 4, since
  if flags % 8 >= SAID then agent.said, position = struct.unpack('>I6', raw, position) end
  if flags % 16 >= OVER then agent.over, position = struct.unpack('>I6', raw, position) end
  agent.presences = string.sub(raw, position)
  return agent
end

local function save_agent(bucket, user, agent)
  local gone = agent.presences == ''
  if gone and agent.said == 0 then
    redis.call('HDEL', bucket_key(bucket), user)
    return
  end
  local flags, times = agent.status, ''
  if agent.said > 0 then
    flags, times = flags + SAID, struct.pack('>I6', agent.said)
  end
  if agent.over > 0 and not gone then
    flags, times = flags + OVER, times .. struct.pack('>I6', agent.over)
  end
  redis.call('HSET', bucket_key(bucket), user, struct.pack('>BI6', flags, agent.since) .. times .. agent.presences)
end

-- Appends what admins and the user are to be told. What a person did is urgent: it overtakes the traffic of
-- sessions that come and go by themselves.
local function announce(stream, user, status, since)
  redis.call('XADD', stream, '*', 'kind', 'status', 'user', user, 'status', STATUS[status], 'since', since)
end
