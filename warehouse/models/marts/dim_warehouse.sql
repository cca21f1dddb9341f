{{ config(materialized='table') }}

-- Every warehouse that ever had stock.
select
    warehouse,
    count(*) as skus,
    min(first_moved_at) as first_moved_at,
    max(last_moved_at) as last_moved_at
from {{ ref('stock_current') }}
group by warehouse
