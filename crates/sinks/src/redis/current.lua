-- Notes that a shard's view has everything that the cluster had at a moment, if it is where the writer thinks.
-- A server that came back with older data, or with none, is noticed here, also while nothing changes.
--
-- KEYS: the shard's key. ARGV: cluster, expected seq, the moment.
-- Returns the seq that the shard has, as text.
local shard = redis.call('HMGET', KEYS[1], 'cluster', 'seq')
if shard[1] and shard[1] ~= ARGV[1] then
  return redis.error_reply('OTHERCLUSTER ' .. shard[1])
end
local seq = shard[2] or '0'
if seq == ARGV[2] then
  redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'current_at_ms', ARGV[3])
end
return seq
