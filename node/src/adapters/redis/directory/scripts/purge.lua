-- Forgets some of the revocations before a time; answers how many.
-- KEYS  1 revoked   2 times
-- ARGV  1 the time   2 how many at the most
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, entry in ipairs(old) do
  redis.call('ZREM', KEYS[1], entry)
  redis.call('ZREM', KEYS[2], entry)
end
return #old
