{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='stock_day_id') }}

-- One row per cell and UTC day on which it moved, with the balances at the end of that day, which hold until
-- next_date. New movements extend a cell's newest row or come after it, because log time never goes back. So
-- only that row is read again.
with new_days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        log_date as stock_date,
        min(log_time) as first_moved_at,
        max(log_time) as last_moved_at,
        max(seq) as last_seq,
        count(*) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_rows
    group by cell_id, shard, sku, warehouse, log_date

),

pieces as (

    select
        new_days.*,
        {%- for bucket in buckets() %}
        cast(null as bigint) as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from new_days
    {%- if is_incremental() %}
    union all
    select
        cell_id,
        shard,
        sku,
        warehouse,
        stock_date,
        first_moved_at,
        last_moved_at,
        last_seq,
        movements,
        {%- for bucket in buckets() %}
        {{ bucket }}_delta,
        {%- endfor %}
        {%- for bucket in buckets() %}
        {{ bucket }} - {{ bucket }}_delta as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ this }}
    where next_date is null and cell_id in (select cell_id from new_days)
    {%- endif %}

),

days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        stock_date,
        min(first_moved_at) as first_moved_at,
        max(last_moved_at) as last_moved_at,
        max(last_seq) as last_seq,
        sum(movements) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta,
        max({{ bucket }}_opening) as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from pieces
    group by cell_id, shard, sku, warehouse, stock_date

)

select
    cell_id || '@' || cast(stock_date as varchar) as stock_day_id,
    cell_id,
    shard,
    sku,
    warehouse,
    stock_date,
    lead(stock_date) over (partition by cell_id order by stock_date) as next_date,
    first_moved_at,
    last_moved_at,
    cast(last_seq as bigint) as last_seq,
    cast(movements as bigint) as movements,
    {%- for bucket in buckets() %}
    cast({{ bucket }}_delta as bigint) as {{ bucket }}_delta,
    {%- endfor %}
    {%- for bucket in buckets() %}
    cast(
        coalesce(max({{ bucket }}_opening) over (partition by cell_id), 0)
        + sum({{ bucket }}_delta) over (partition by cell_id order by stock_date rows between unbounded preceding and current row)
        as bigint
    ) as {{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from days
