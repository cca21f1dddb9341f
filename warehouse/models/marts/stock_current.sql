{{ config(materialized='table') }}

-- Every cell as it stands after the last loaded change.
select
    cell_id,
    shard,
    sku,
    warehouse,
    {%- for bucket in buckets() %}
    {{ bucket }},
    {%- endfor %}
    free + pool as sellable,
    last_moved_at,
    last_seq
from {{ ref('int_stock_days') }}
where next_date is null
