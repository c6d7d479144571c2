-- What several scripts of the directory do. Times in ARGV are the callers', which only compare them with each other; how long
-- Redis itself keeps a key goes by its own clock.

local function clock_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Notes that a user's login is kept for this many ms more.
local function keep(user_key, login, life)
  local now = math.floor(clock_us() / 1000)
  redis.call('ZREMRANGEBYSCORE', user_key, '-inf', string.format('%.0f', now))
  redis.call('ZADD', user_key, string.format('%.0f', now + tonumber(life)), login)
  if redis.call('PTTL', user_key) < tonumber(life) then
    redis.call('PEXPIRE', user_key, life)
  end
end

-- Ends a login and tells everybody. `where` has the keys revoked, times and number, and the arguments channel, prefix and
-- memory. The login stays for as long as its access tokens, so that a spent refresh token is still known for one.
local function revoke(where, login, user, at)
  local login_key = where.prefix .. 'login:' .. login
  redis.call('HSET', login_key, 'revoked', at)
  redis.call('PEXPIRE', login_key, where.memory)
  redis.call('ZREM', where.prefix .. 'user:' .. user, login)
  -- Numbers grow with the time, also when a Redis that lost the last of its data counts on.
  local number = math.max(clock_us(), tonumber(redis.call('GET', where.number) or '0') + 1)
  number = string.format('%.0f', number)
  local entry = login .. ' ' .. user .. ' ' .. at
  redis.call('SET', where.number, number)
  redis.call('ZADD', where.revoked, number, entry)
  redis.call('ZADD', where.times, at, entry)
  redis.call('PUBLISH', where.channel, entry)
end

local function where_from(first_key)
  return {
    revoked = KEYS[first_key], times = KEYS[first_key + 1], number = KEYS[first_key + 2],
    channel = ARGV[1], prefix = ARGV[2], memory = ARGV[3],
  }
end
