-- Takes a job out; answers whether there was one.
-- KEYS  1 due   2 claims
-- ARGV  1 name
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
