{{ config(materialized='table') }}

-- Every SKU that ever had stock.
select
    sku,
    max(shard) as shard,
    count(*) as warehouses,
    min(first_moved_at) as first_moved_at,
    max(last_moved_at) as last_moved_at
from {{ ref('stock_current') }}
group by sku
