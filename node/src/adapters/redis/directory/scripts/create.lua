-- Makes a login.
-- KEYS  1 login   2 its user's logins
-- ARGV  1 login   2 user   3 digest of the family's secret   4 of the token's   5 when it expires   6 how long to keep it, ms
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'family', ARGV[3], 'secret', ARGV[4], 'expires', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
keep(KEYS[2], ARGV[1], ARGV[6])
return 1
