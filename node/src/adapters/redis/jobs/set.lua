-- Sets a job down for a time, or leaves what there is of that name; answers whether it was set down.
-- KEYS  1 due   2 claims
-- ARGV  1 name   2 the time   3 'new' to leave what there is
if ARGV[3] == 'new' and redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
