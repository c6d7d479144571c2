-- Takes jobs that are due, the oldest first; answers their names. They are due again when the claim ends.
-- KEYS  1 due   2 claims
-- ARGV  1 now   2 when the claim ends   3 how many at the most   4 the claim
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, name in ipairs(names) do
  redis.call('ZADD', KEYS[1], ARGV[2], name)
  redis.call('HSET', KEYS[2], name, ARGV[4])
end
return names
