-- Ends the sessions of one partition whose deadline the watermark has passed, each at its deadline: a facility at a
-- time, because a visit costs as much as the facility has sessions, the facility with the earliest deadline first.
--
-- ARGV[4] watermark in ms
-- ARGV[5] most facilities to visit in this call
-- ARGV[6] while this moment (ms) is ahead nobody expires, only `left` counts; 0 = no hold
-- ARGV[7] facility to visit alone, whatever its turn; absent: all that are due
-- Returns {ended, changes, more}: sessions ended, status changes appended, 1 when another call is needed.

local reached, limit, hold_until, only = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

-- Up to when values that tell nobody's presence any more may go: no further than messages are judged late (ingest.lua),
-- or one given again would begin the session anew.
local decided = math.max(watermark(), hold_until == 0 and not only and reached or 0)
local forgotten = math.min(reached, decided)

-- Returns how many of these facilities have their turn in one call: as many as have `ENOUGH` values together.
local function turns(facilities)
  local values = 0
  for i, facility in ipairs(facilities) do
    values = values + redis.call('HLEN', sessions_key(facility))
    if values >= ENOUGH then return i end
  end
  return #facilities
end

local due, taken = { only }, 1
if not only then
  due = redis.call('ZRANGE', DEADLINES, '-inf', reached, 'BYSCORE', 'LIMIT', 0, limit)
  taken = #due > 0 and turns(due) or 0
end

local ended, changes = 0, 0
for i = 1, taken do
  local ended_here, changes_here = visit(due[i], reached, hold_until, forgotten)
  ended, changes = ended + ended_here, changes + changes_here
end

-- Decided for the whole partition, also where facilities still wait for their turn: what is late is late at all of them.
-- During a hold, and by a visit to one facility, nothing is.
if decided > watermark() then redis.call('SET', WATERMARK, string.format('%.0f', decided)) end
return { ended, changes, redis.call('ZCOUNT', DEADLINES, '-inf', reached) > 0 and 1 or 0 }
