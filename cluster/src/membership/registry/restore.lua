-- Tells a Redis that lost its data what a member knows. Members that it has already stay as it has them.
-- KEYS  1 meta   2 members   3 leases
-- ARGV  1 the caller's epoch   2 its stamp   3 a fresh stamp   4 lease, ms   5 shards   6 channel   7... node, value
local meta = redis.call('HMGET', KEYS[1], 'view', 'now', 'clock', 'shards')
local epoch, stamp = string.match(meta[1] or '0 0', '^(%d+) (%d+)$')
local known = tonumber(ARGV[1])
epoch = tonumber(epoch)
if known < epoch or (known == epoch and ARGV[2] == stamp) then
  return 0
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local clock = tonumber(meta[3] or '0')
for at = 7, #ARGV, 2 do
  if redis.call('HSETNX', KEYS[2], ARGV[at], ARGV[at + 1]) == 1 then
    redis.call('ZADD', KEYS[3], string.format('%.0f', clock + tonumber(ARGV[4])), ARGV[at])
  end
end
local view = string.format('%.0f', math.max(epoch, known) + 1) .. ' ' .. ARGV[3]
redis.call('HSET', KEYS[1], 'view', view, 'now', meta[2] or string.format('%.0f', now),
  'clock', string.format('%.0f', clock), 'shards', meta[4] or ARGV[5])
redis.call('PUBLISH', ARGV[6], view)
return 1
