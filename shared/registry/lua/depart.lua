-- Numbers the departure of a facility from a region, so that browsers that hold it let go of it.
--
-- ARGV[4] facility   ARGV[5] region it leaves   ARGV[6] now in ms   ARGV[7] 1 when it is in another region now
-- Returns the number of changes appended. A facility that moved is told anew to its new region, state unchanged.

local facility, region, now, moved = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
local state = load_facility(facility)

-- A facility that moved has not changed otherwise: were its departure told as of now, `since` would go back after it.
local since = moved and state.since > 0 and state.since or math.max(now, state.since)
state.version = state.version + 1
redis.call('XADD', CHANGES, '*', 'kind', 'status', 'facility', facility, 'region', region, 'status', 'removed',
  'since', since, 'version', state.version, 'sessions', 0, 'reason', 'removed')
local changes = 1
if not moved then forget_for_alerts(facility) end
if moved and state.since > 0 then
  changes = changes + turn(facility, state, state.online, state.since, state.reason, state.sessions)
end
save_facility(facility, state)
return changes
