-- Numbers the departure of a facility from a region, so that browsers that hold it let go of it, and tells the region
-- where it is now of it.
--
-- ARGV[4] facility   ARGV[5] region it leaves; '' when it was in none   ARGV[6] now in ms
-- ARGV[7] 1 when it is in another region now
-- Returns the number of changes appended.
--
-- A facility that was never online is told of as removed, too, or its old region would show it for ever. That takes a
-- version above the 0 under which it is held, and the next one after it (its first change is 2, say): were the number
-- used twice, a browser that sees both regions, or sees it return, would take its first change for a known one. The API
-- goes on showing version 0 of it, as `since` is 0 (see `facility_item`).

local facility, region, now, present = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
local state, changes = load_facility(facility), 0

if region ~= '' then
  -- A facility that moved has not changed otherwise: were its departure told as of now, `since` would go back after it.
  local since = present and state.since > 0 and state.since or math.max(now, state.since)
  state.version = state.version + 1
  redis.call('XADD', CHANGES, '*', 'kind', 'status', 'facility', facility, 'region', region, 'status', 'removed',
    'since', since, 'version', state.version, 'sessions', 0, 'reason', 'removed')
  changes = changes + 1
  if not present then forget_for_alerts(facility) end
end

if present and state.since > 0 then
  -- No transition: `again` keeps it out of what the history shows.
  state.version = state.version + 1
  redis.call('XADD', CHANGES, '*', 'kind', 'status', 'facility', facility, 'again', 1,
    'status', state.online == 1 and 'online' or 'offline', 'since', state.since, 'version', state.version,
    'sessions', state.sessions, 'reason', REASON[state.reason])
  changes = changes + 1
end

if changes > 0 then save_facility(facility, state) end
return changes
