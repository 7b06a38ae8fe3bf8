-- Counts the online sessions of one partition that did not say goodbye, and those of them heard lately.
--
-- ARGV[4] watermark in ms   ARGV[5] a session is heard if its last beat is after this moment (ms)
-- ARGV[6] about how many sessions to look at: a larger partition is sampled, and the counts are scaled up
-- Returns {online, heard, due, exact, heard ids, silent ids}: `due` 1 when one of them has passed its deadline (from a
-- sample: when one may have). Ids (user/session) only where the count is exact, for sessions that several facilities
-- share.

local reached, heard_after, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local facilities = redis.call('ZCARD', DEADLINES)
-- Every online session's facility is among the deadlines. Where there are more than can be looked at, a quarter of the
-- limit does: few facilities have a single session. They may come in the order of their deadlines, which says who is
-- silent, so they are shuffled.
local sample = redis.call('ZRANDMEMBER', DEADLINES, facilities > limit and limit / 4 or limit)
math.randomseed(reached % 2147483647)
for i = #sample, 2, -1 do
  local j = math.random(i)
  sample[i], sample[j] = sample[j], sample[i]
end

local online, heard, due, exact, looked, visited = 0, 0, 0, true, 0, 0
local heard_ids, silent_ids = {}, {}
for _, facility in ipairs(sample) do
  if looked >= limit then break end
  local values = sessions_key(facility)
  local size = redis.call('HLEN', values)
  local flat, weight
  if size > limit then
    flat, weight, exact = redis.call('HRANDFIELD', values, limit, 'WITHVALUES'), size / limit, false
  else
    flat, weight = redis.call('HGETALL', values), 1
  end
  each_session(flat, function(id, _, beat, leave, _, life)
    if life == ONLINE and beat > leave and id ~= NAMELESS then
      online = online + weight
      if beat > heard_after then
        heard = heard + weight
        heard_ids[#heard_ids + 1] = id
      else
        silent_ids[#silent_ids + 1] = id
      end
      if beat + ttl <= reached then due = 1 end
    end
  end)
  looked = looked + #flat / 2
  visited = visited + 1
end

if visited < facilities then
  exact = false
  online, heard = online * facilities / visited, heard * facilities / visited
end
if not exact then
  heard_ids, silent_ids = {}, {}
  if #redis.call('ZRANGE', DEADLINES, '-inf', reached, 'BYSCORE', 'LIMIT', 0, 1) > 0 then due = 1 end
end
return { math.floor(online + 0.5), math.floor(heard + 0.5), due, exact and 1 or 0, heard_ids, silent_ids }
