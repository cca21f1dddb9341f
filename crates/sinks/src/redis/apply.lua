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
-- The most values that one command gets here: Lua can unpack about 8,000.
local AT_ONCE = 4000
local cells, skus = tonumber(ARGV[5]), tonumber(ARGV[6])
local at = 7
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function sku_key(number) return KEYS[1 + cells + 2 * number - 1] end
local function front_key(number) return KEYS[1 + cells + 2 * number] end
local function opposite(units)
  if string.sub(units, 1, 1) == '-' then return string.sub(units, 2) end
  return '-' .. units
end

-- Redis keeps what a script wrote before an error. So the way back from each write that counts up is kept.
local undo = {}
local function increase(key, field, delta)
  redis.call('HINCRBY', key, field, delta)
  undo[#undo + 1] = { 'HINCRBY', key, field, opposite(delta) }
end
local function put_new(key, field, value)
  if redis.call('HSETNX', key, field, value) == 1 then
    undo[#undo + 1] = { 'HDEL', key, field }
  end
end

local function apply()
  -- For each SKU with cells that are new, their warehouses.
  local is_new = {}
  for cell = 1, cells do
    local key, warehouse, sku, count = KEYS[1 + cell], take(), tonumber(take()), tonumber(take())
    if redis.call('HEXISTS', key, 'seq') == 0 then
      -- A cell that is new has every bucket, and can be sold as 0 units: 0 and unknown are different answers.
      for _, bucket in ipairs(BUCKETS) do put_new(key, bucket, '0') end
      put_new(sku_key(sku), '*', '0')
      put_new(sku_key(sku), '*@' .. warehouse, '0')
      undo[#undo + 1] = { 'DEL', key }
      is_new[sku] = is_new[sku] or {}
      table.insert(is_new[sku], warehouse)
    end
    -- The last states of cells need no way back: the same batch writes them again.
    local last = at + count
    while at < last do
      local to = math.min(at + AT_ONCE, last)
      redis.call('HSET', key, unpack(ARGV, at, to - 1))
      at = to
    end
  end

  for number = 1, skus do
    local sku, front = sku_key(number), front_key(number)
    local may_borrow = {}
    local known = redis.call('HGETALL', front)
    for i = 1, #known, 2 do
      local storefront = known[i]
      may_borrow[storefront] = known[i + 1]
      -- A storefront may have got its policy before the SKU had any cell. Without a number of its own it would
      -- read everybody's.
      for _, warehouse in ipairs(is_new[number] or {}) do
        put_new(sku, storefront, '0')
        put_new(sku, storefront .. '@' .. warehouse, '0')
      end
    end

    -- Returns everybody's fields and numbers, which are final once all units of free stock have moved. They are
    -- read once, because a SKU with many storefronts has many fields.
    local everybody
    local function read_everybody()
      if everybody then return everybody end
      everybody = {}
      local fields = redis.call('HGETALL', sku)
      for i = 1, #fields, 2 do
        if string.sub(fields[i], 1, 1) == '*' then
          everybody[string.sub(fields[i], 2)] = fields[i + 1]
        end
      end
      return everybody
    end

    -- A storefront gets numbers of its own when it gets a pool or a policy. They begin as everybody's.
    local function know(storefront)
      if may_borrow[storefront] then return end
      may_borrow[storefront] = '1'
      put_new(front, storefront, '1')
      for place, units in pairs(read_everybody()) do put_new(sku, storefront .. place, units) end
    end
    local function add(storefront, warehouse, delta)
      increase(sku, storefront, delta)
      increase(sku, storefront .. '@' .. warehouse, delta)
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
        for place, units in pairs(read_everybody()) do
          if units ~= '0' then
            increase(sku, storefront .. place, borrows == '0' and opposite(units) or units)
          end
        end
        undo[#undo + 1] = { 'HSET', front, storefront, may_borrow[storefront] }
        may_borrow[storefront] = borrows
        redis.call('HSET', front, storefront, borrows)
      end
    end
  end

  redis.call('HSET', KEYS[1], 'cluster', ARGV[1], 'seq', ARGV[3], 'log_time_ms', ARGV[4])
end

local done, failure = pcall(apply)
if done then return ARGV[3] end
for i = #undo, 1, -1 do redis.call(unpack(undo[i])) end
if type(failure) == 'table' then return failure end
return redis.error_reply(tostring(failure))
