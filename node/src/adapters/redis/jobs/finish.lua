-- Ends a claim that still holds: the job is gone, or due again; answers whether it held.
-- KEYS  1 due   2 claims
-- ARGV  1 name   2 the claim   3 when it is due again, or nothing
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
