{{ config(materialized='table') }}

-- Every warehouse that ever had stock.
select
    warehouse,
    count(distinct sku) as skus,
    min(first_moved_at) as first_moved_at,
    max(last_moved_at) as last_moved_at
from {{ ref('int_stock_days') }}
group by warehouse
