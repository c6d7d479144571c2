-- One heartbeat: join, renew or release a lease, take away those that ran out, and say what the cluster looks like.
-- KEYS  1 meta: view ("epoch stamp"), now, clock, shards   2 members: node -> "incarnation holder state card"
--       3 leases: node -> when it runs out   4 table: view, stamp, placement
-- ARGV  1 what   2 node   3 holder   4 incarnation   5 "state card"   6 lease, ms   7 the longest step of the clock, ms
--       8 the caller's epoch   9 its stamp   10 a fresh stamp   11 shards   12 stamp of the caller's table   13 channel
local what, node, holder = ARGV[1], ARGV[2], ARGV[3]
local meta = redis.call('HMGET', KEYS[1], 'view', 'now', 'clock', 'shards')
local epoch, stamp = string.match(meta[1] or '0 0', '^(%d+) (%d+)$')
epoch = tonumber(epoch)
local known, known_stamp = tonumber(ARGV[8]), ARGV[9]
if meta[4] and meta[4] ~= ARGV[11] then
  return {'shards', meta[4]}
end
-- Data were lost here, the last of them or all: the caller knows a later view, or another one of the same epoch.
if what == 'renew' and (known > epoch or (known == epoch and known_stamp ~= stamp)) then
  return {'behind'}
end

-- The clock of leases counts the time in which it was looked at: while Redis stands still or is away, so do the leases, and
-- a jump of the server's clock takes nobody's lease away.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local passed = now - tonumber(meta[2] or now)
local clock = tonumber(meta[3] or '0') + math.max(0, math.min(passed, tonumber(ARGV[7])))
local ends = string.format('%.0f', clock + tonumber(ARGV[6]))

local status, changed = what, false
local mine = redis.call('HGET', KEYS[2], node)
local incarnation, owner = string.match(mine or '', '^(%d+) (%d+) ')
if what == 'join' then
  epoch = math.max(epoch, known)
  incarnation = string.format('%.0f', epoch + 1)
  redis.call('HSET', KEYS[2], node, incarnation .. ' ' .. holder .. ' ' .. ARGV[5])
  redis.call('ZADD', KEYS[3], ends, node)
  changed = true
elseif what == 'renew' and mine and owner ~= holder then
  status = 'superseded'
elseif what == 'renew' and incarnation ~= ARGV[4] then
  status = 'gone'
elseif what == 'renew' then
  local value = incarnation .. ' ' .. holder .. ' ' .. ARGV[5]
  redis.call('ZADD', KEYS[3], ends, node)
  if value ~= mine then
    redis.call('HSET', KEYS[2], node, value)
    changed = true
  end
elseif owner == holder and incarnation == ARGV[4] then
  redis.call('HDEL', KEYS[2], node)
  redis.call('ZREM', KEYS[3], node)
  changed = true
end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', clock))) do
  redis.call('HDEL', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
  changed = true
end

if changed then
  epoch, stamp = epoch + 1, ARGV[10]
end
local view = string.format('%.0f', epoch) .. ' ' .. stamp
redis.call('HSET', KEYS[1], 'view', view, 'now', string.format('%.0f', now),
  'clock', string.format('%.0f', clock), 'shards', ARGV[11])
if changed then
  redis.call('PUBLISH', ARGV[13], view)
end

local others = -1
local first = redis.call('ZRANGE', KEYS[3], 0, 1, 'WITHSCORES')
for at = 1, #first, 2 do
  if first[at] ~= node and others < 0 then
    others = math.max(0, tonumber(first[at + 1]) - clock)
  end
end
local members, placed = false, false
if epoch ~= known or stamp ~= known_stamp then
  members = redis.call('HGETALL', KEYS[2])
end
local stored = redis.call('HMGET', KEYS[4], 'view', 'stamp', 'placement')
if stored[2] and stored[2] ~= ARGV[12] then
  placed = stored
end
return {status, string.format('%.0f', epoch), stamp, others, incarnation or '0', members, placed}
