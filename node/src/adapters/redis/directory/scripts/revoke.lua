-- Ends one login of a user.
-- KEYS  1 login   2... those of revoking
-- ARGV  1...3 those of revoking   4 login   5 user   6 now
local stored = redis.call('HMGET', KEYS[1], 'user', 'revoked')
if stored[1] ~= ARGV[5] or stored[2] then
  return 0
end
revoke(where_from(2), ARGV[4], ARGV[5], ARGV[6])
return 1
