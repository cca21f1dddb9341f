{{ config(materialized='view') }}

-- The closing balances of every cell on the UTC days on which it moved. They hold until next_date. So a day
-- without movement has no row; stock_each_day fills it in.
select
    stock_day_id,
    stock_date,
    next_date,
    cell_id,
    shard,
    sku,
    warehouse,
    {%- for bucket in buckets() %}
    {{ bucket }},
    {%- endfor %}
    free + pool as sellable,
    movements
from {{ ref('int_stock_days') }}
