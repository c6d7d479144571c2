-- Takes revocations that a node remembers and this Redis lost.
-- KEYS  1... those of revoking
-- ARGV  1...3 those of revoking   4... login, user, at, entry
local where = where_from(1)
for at = 4, #ARGV, 4 do
  if not redis.call('ZSCORE', where.times, ARGV[at + 3]) then
    revoke(where, ARGV[at], ARGV[at + 1], ARGV[at + 2])
  end
end
return 1
