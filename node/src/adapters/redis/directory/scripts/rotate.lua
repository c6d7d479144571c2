-- Spends a refresh token for the next one, or finds that it was spent before and ends the login.
-- KEYS  1 login   2... those of revoking
-- ARGV  1...3 those of revoking   4 login   5 digest of the family's secret   6 of the token's   7 of the next one's   8 now
--       9 when the next one expires   10 how long to keep it, ms
local stored = redis.call('HMGET', KEYS[1], 'user', 'family', 'secret', 'expires', 'revoked')
local user = stored[1]
if not user or stored[2] ~= ARGV[5] then
  return {'unknown', ''}
end
if stored[3] ~= ARGV[6] then
  if not stored[5] then
    revoke(where_from(2), ARGV[4], user, ARGV[8])
  end
  return {'reused', user}
end
if stored[5] then
  return {'unknown', ''}
end
if tonumber(stored[4]) <= tonumber(ARGV[8]) then
  return {'expired', ''}
end
redis.call('HSET', KEYS[1], 'secret', ARGV[7], 'expires', ARGV[9])
redis.call('PEXPIRE', KEYS[1], ARGV[10])
keep(ARGV[2] .. 'user:' .. user, ARGV[4], ARGV[10])
return {'rotated', user}
