-- Ends every login of a user but one; answers which.
-- KEYS  1 the user's logins   2... those of revoking
-- ARGV  1...3 those of revoking   4 user   5 the login that stays, or nothing   6 now
local ended = {}
for _, login in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local stored = redis.call('HMGET', ARGV[2] .. 'login:' .. login, 'user', 'revoked')
  if login ~= ARGV[5] and stored[1] and not stored[2] then
    revoke(where_from(2), login, ARGV[4], ARGV[6])
    ended[#ended + 1] = login
  end
end
return ended
