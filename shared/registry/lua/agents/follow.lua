-- Follows presences that began and ended, as the streams `presence:{pNN}` tell them: each entry once, in its order.
--
-- ARGV[2] msgpack: [[source, [[entry ms, entry number, kind, user, bucket, presence (8 bytes), session, at ms,
--         reason], …]], …]; a source is the tag of the stream's partition. Kinds are began, ended, and present: that
--         one has all presences of the user at the facility, or the facility alone with the checksum of no session
-- Returns {online, offline}: agents who came and who went.
--
-- The newest entry followed of each source is kept beside the agents, so that an entry given again, by a reader that
-- died halfway or one that lost its lease without noticing, does nothing.

local came, went = 0, 0
local floor = tonumber(redis.call('HGET', PROGRESS, 'floor') or '0')
local raised = floor

local function find(presences, presence)
  for i = 1, #presences, PRESENCE do
    if string.sub(presences, i, i + PRESENCE - 1) == presence then return i end
  end
end

local function has_session(presences, session)
  for i = 1, #presences, PRESENCE do
    if string.sub(presences, i + 4, i + 7) == session then return true end
  end
  return false
end

local function began(user, bucket, presence, at)
  local agent = load_agent(bucket, user)
  if find(agent.presences, presence) then return end
  if agent.presences == '' then
    came = came + 1
    -- Whoever came back must not seem older than their going: readers take the later `since`.
    agent.since = at > floor and at or floor + 1
    if agent.said >= at then
      agent.since = math.max(agent.since, agent.said)
    else
      agent.status, agent.said = AVAILABLE, 0
    end
    announce(TRAFFIC, user, agent.status, agent.since)
  end
  agent.presences = agent.presences .. presence
  save_agent(bucket, user, agent)
end

local function ended(user, bucket, presence, session, at, reason)
  local stream = reason == 'ended' and URGENT or TRAFFIC
  local agent = load_agent(bucket, user)
  local i = find(agent.presences, presence)
  if i then
    agent.presences = string.sub(agent.presences, 1, i - 1) .. string.sub(agent.presences, i + PRESENCE)
    agent.over = math.max(agent.over, at)
  end
  if session and not has_session(agent.presences, string.sub(presence, 5)) then
    redis.call('XADD', stream, '*', 'kind', 'ended', 'user', user, 'session', session, 'reason', reason)
  end
  if not i then return end
  if agent.presences == '' then
    went = went + 1
    local since = math.max(agent.over, agent.since + 1)
    announce(stream, user, 0, since)
    raised = math.max(raised, since)
    -- Something said after the end belongs to a session that is still to be heard of here.
    if agent.said <= agent.over then agent.said = 0 end
    agent.since = 0
  end
  save_agent(bucket, user, agent)
end

-- Corrects what is known of a user at one facility. Which session an unknown end was of, nobody can tell any more.
local function present(user, bucket, presences, session, at)
  local facility, none = string.sub(presences, 1, 4), session == ''
  if not none then
    for i = 1, #presences, PRESENCE do
      began(user, bucket, string.sub(presences, i, i + PRESENCE - 1), at)
    end
  end
  local held = load_agent(bucket, user).presences
  for i = 1, #held, PRESENCE do
    local presence = string.sub(held, i, i + PRESENCE - 1)
    if string.sub(presence, 1, 4) == facility and (none or not find(presences, presence)) then
      ended(user, bucket, presence, nil, at, 'expired')
    end
  end
end

for _, group in ipairs(cmsgpack.unpack(ARGV[2])) do
  local source, entries = group[1], group[2]
  local followed = redis.call('HGET', PROGRESS, source) or '0-0'
  local ms, number = string.match(followed, '(%d+)-(%d+)')
  ms, number = tonumber(ms), tonumber(number)
  for _, entry in ipairs(entries) do
    if entry[1] > ms or (entry[1] == ms and entry[2] > number) then
      ms, number = entry[1], entry[2]
      local kind, user, bucket, presence, session, at = entry[3], entry[4], entry[5], entry[6], entry[7], entry[8]
      if kind == 'began' then
        began(user, bucket, presence, at)
      elseif kind == 'ended' then
        ended(user, bucket, presence, session, at, entry[9])
      else
        present(user, bucket, presence, session, at)
      end
      floor = raised
    end
  end
  redis.call('HSET', PROGRESS, source, string.format('%.0f-%.0f', ms, number))
end
if raised > 0 then redis.call('HSET', PROGRESS, 'floor', string.format('%.0f', raised)) end
return { came, went }
