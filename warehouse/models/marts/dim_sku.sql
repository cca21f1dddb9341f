{{ config(materialized='table') }}

-- Every SKU that ever had stock.
select
    sku,
    max(shard) as shard,
    count(distinct warehouse) as warehouses,
    min(first_moved_at) as first_moved_at,
    max(last_moved_at) as last_moved_at
from {{ ref('int_stock_days') }}
group by sku
