-- Applies a batch of changes to one shard's view, at once or not at all.
--
-- KEYS: the shard's key, then for each cell its key, then for each SKU its `sku` and its `front` key.
-- ARGV: cluster, expected seq, new seq, new log time, number of cells, number of SKUs; then
--   for each cell: warehouse, index of its SKU (from 1), number of fields and values, fields and values;
--   for each SKU: number of units of free stock that moved, then (warehouse, delta) each;
--                 number of moves of pools, then (storefront, warehouse, delta) each;
--                 number of stock policies, then (storefront, "1" or "0") each.
-- Returns the seq that the shard has afterwards, as text; another one than the new seq if nothing was done.
-- Numbers stay text, because a Lua number has only 53 bits.
local shard = redis.call('HMGET', KEYS[1], 'cluster', 'seq')
if shard[1] and shard[1] ~= ARGV[1] then
  return redis.error_reply('OTHERCLUSTER ' .. shard[1])
end
local seq = shard[2] or '0'
if seq ~= ARGV[2] then
  return seq
end

local BUCKETS = {
  'on_hand', 'free', 'safety', 'held', 'committed', 'damaged', 'quality_hold', 'deficit', 'backordered', 'in_transit',
}
local cells, skus = tonumber(ARGV[5]), tonumber(ARGV[6])
local at = 7
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function sku_key(number) return KEYS[1 + cells + 2 * number - 1] end
local function front_key(number) return KEYS[1 + cells + 2 * number] end

for cell = 1, cells do
  local warehouse, sku, count = take(), tonumber(take()), tonumber(take())
  local added = redis.call('HSET', KEYS[1 + cell], unpack(ARGV, at, at + count - 1))
  at = at + count
  if added > 0 then
    -- A cell that is new has every bucket, and can be sold as 0 units: 0 and unknown are different answers.
    for _, bucket in ipairs(BUCKETS) do redis.call('HSETNX', KEYS[1 + cell], bucket, '0') end
    redis.call('HSETNX', sku_key(sku), '*', '0')
    redis.call('HSETNX', sku_key(sku), '*@' .. warehouse, '0')
  end
end

for number = 1, skus do
  local sku, front = sku_key(number), front_key(number)
  local may_borrow = {}
  local known = redis.call('HGETALL', front)
  for i = 1, #known, 2 do may_borrow[known[i]] = known[i + 1] end

  -- A storefront gets numbers of its own when it gets a pool or a policy. They begin as everybody's.
  local function know(storefront)
    if may_borrow[storefront] then return end
    may_borrow[storefront] = '1'
    redis.call('HSET', front, storefront, '1')
    local fields = redis.call('HGETALL', sku)
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, 1) == '*' then
        redis.call('HSET', sku, storefront .. string.sub(fields[i], 2), fields[i + 1])
      end
    end
  end
  local function add(storefront, warehouse, delta)
    redis.call('HINCRBY', sku, storefront, delta)
    redis.call('HINCRBY', sku, storefront .. '@' .. warehouse, delta)
  end

  for _ = 1, tonumber(take()) do
    local warehouse, delta = take(), take()
    add('*', warehouse, delta)
    for storefront, borrows in pairs(may_borrow) do
      if borrows == '1' then add(storefront, warehouse, delta) end
    end
  end
  for _ = 1, tonumber(take()) do
    local storefront, warehouse, delta = take(), take(), take()
    know(storefront)
    add(storefront, warehouse, delta)
  end
  for _ = 1, tonumber(take()) do
    local storefront, borrows = take(), take()
    know(storefront)
    if may_borrow[storefront] ~= borrows then
      local fields = redis.call('HGETALL', sku)
      for i = 1, #fields, 2 do
        if string.sub(fields[i], 1, 1) == '*' and fields[i + 1] ~= '0' then
          local delta = fields[i + 1]
          if borrows == '0' then delta = '-' .. delta end
          redis.call('HINCRBY', sku, storefront .. string.sub(fields[i], 2), delta)
        end
      end
      may_borrow[storefront] = borrows
      redis.call('HSET', front, storefront, borrows)
    end
  end
end

redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'seq', ARGV[3], 'log_time_ms', ARGV[4])
return ARGV[3]
