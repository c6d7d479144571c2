-- Takes one attempt from a budget that comes back evenly over the minute (generic cell rate algorithm: one number, the
-- instant at which the budget is whole again); answers 0, or in how many us there will be one.
-- KEYS  1 budget
-- ARGV  1 now, us   2 what an attempt costs, us   3 a minute, us
local now, cost, minute = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
-- No budget is more than a minute away from whole, even when the clock stepped back.
local whole = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
local spent = math.max(now, math.min(whole, now + minute)) + cost
local wait = spent - now - minute
if wait > 0 then
  return string.format('%.0f', wait)
end
redis.call('SET', KEYS[1], string.format('%.0f', spent), 'PX', math.ceil((spent - now) / 1000))
return '0'
