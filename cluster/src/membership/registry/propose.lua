-- Stores the table of a view if that is the view still and has none, or has the one that the caller found unfit.
-- KEYS  1 meta   2 table: view, stamp, placement
-- ARGV  1 view   2 a fresh stamp   3 stamp of the caller's table   4 placement   5 channel
local view = redis.call('HGET', KEYS[1], 'view')
local stored = redis.call('HMGET', KEYS[2], 'view', 'stamp', 'placement')
if view == ARGV[1] and (stored[1] ~= view or stored[2] == ARGV[3]) then
  redis.call('HSET', KEYS[2], 'view', view, 'stamp', ARGV[2], 'placement', ARGV[4])
  redis.call('PUBLISH', ARGV[5], view)
  stored = {view, ARGV[2], ARGV[4]}
end
return stored
