-- Announces that facilities have been offline for too long, or are back after that; each once.
--
-- ARGV[4] the moment that has been reached, in ms   ARGV[5] how long offline is too long, in ms
-- ARGV[6] for how long a facility's offline is not announced again, in ms
-- ARGV[7] 1 when the webhook is to be called as well
-- ARGV[8…] facilities of this partition that seem to be due
-- Returns the number of alerts appended. What is not due any more is passed over.

local reached, after, cooldown, call_webhook = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local function cooldown_key(facility) return 'alert-cooldown:' .. tag .. ':' .. facility end

local function announce(facility, state, since)
  redis.call('XADD', CHANGES, '*', 'kind', 'alert', 'facility', facility, 'state', state, 'since', since,
    'at', string.format('%.0f', reached))
  if call_webhook then
    redis.call('RPUSH', 'webhook-calls:' .. tag .. ':' .. facility, state .. '/' .. since)
    -- A facility whose earlier call still waits keeps its turn: calls of one facility go in their order.
    redis.call('ZADD', 'webhooks:' .. tag, 'NX', reached, facility)
  end
  return 1
end

local announced = 0
for i = 8, #ARGV do
  local facility = ARGV[i]
  local back = redis.call('ZSCORE', RECOVERED, facility)
  local due = redis.call('ZSCORE', OFFLINE, facility)
  if back then
    redis.call('ZREM', RECOVERED, facility)
    announced = announced + announce(facility, 'recovered', back)
  elseif due and due + after <= reached then
    local wait = cooldown > 0 and redis.call('PTTL', cooldown_key(facility)) or -2
    if wait > 0 then
      -- Looked at again when the cool-down is over, if it is still offline then.
      redis.call('ZADD', OFFLINE, string.format('%.0f', reached + wait - after), facility)
    else
      if cooldown > 0 then redis.call('SET', cooldown_key(facility), '', 'NX', 'PX', cooldown) end
      local since = string.format('%.0f', load_facility(facility).since)
      redis.call('ZREM', OFFLINE, facility)
      redis.call('ZADD', ALERTED, since, facility)
      announced = announced + announce(facility, 'offline', since)
    end
  end
end
return announced
