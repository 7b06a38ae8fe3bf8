-- Removes the session-list keys of facilities that wait for the sweep, so that their expiry is not told a thousand
-- times to everybody while the sweep is on its way there. Where a session goes on, it is listed anew when its time comes.
--
-- ARGV[4] watermark in ms
-- ARGV[5] most facilities, those that are due first
-- Returns the number of keys removed.

local removed = 0
for _, facility in ipairs(redis.call('ZRANGE', DEADLINES, '-inf', ARGV[4], 'BYSCORE', 'LIMIT', 0, ARGV[5])) do
  local listed = {}
  for i, id in ipairs(redis.call('HKEYS', sessions_key(facility))) do listed[i] = listing_key(facility, id) end
  in_pieces(listed, function(...) removed = removed + redis.call('UNLINK', ...) end)
end
return removed
