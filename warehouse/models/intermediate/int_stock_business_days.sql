{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='stock_business_day_id') }}

-- One row per cell and business day on which it moved, with the balances at the end of that day, which hold
-- until next_date. A movement may be booked for a day long past. Then every later day of its cell, and the
-- day before it, is made again. Earlier days stay as they are, so the newest movements of a cell change only
-- its newest row.
with new_days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        business_date,
        min(happened_at) as first_happened_at,
        max(happened_at) as last_happened_at,
        max(seq) as last_seq,
        count(*) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_rows
    group by cell_id, shard, sku, warehouse, business_date

),
{%- if is_incremental() %}

first_new_days as (

    select
        cell_id,
        min(business_date) as business_date
    from new_days
    group by cell_id

),

-- The rows begin at the last day before the first new one, or at the cell's first day. The first row gives
-- the opening balances.
old_days as (

    select
        old.*,
        row_number() over (partition by old.cell_id order by old.business_date) as day_number
    from {{ this }} as old
    inner join first_new_days on old.cell_id = first_new_days.cell_id
    where old.next_date is null or old.next_date > first_new_days.business_date

),
{%- endif %}

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
        business_date,
        first_happened_at,
        last_happened_at,
        last_seq,
        movements,
        {%- for bucket in buckets() %}
        {{ bucket }}_delta,
        {%- endfor %}
        {%- for bucket in buckets() %}
        case when day_number = 1 then {{ bucket }} - {{ bucket }}_delta end as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from old_days
    {%- endif %}

),

days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        business_date,
        min(first_happened_at) as first_happened_at,
        max(last_happened_at) as last_happened_at,
        max(last_seq) as last_seq,
        sum(movements) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta,
        max({{ bucket }}_opening) as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from pieces
    group by cell_id, shard, sku, warehouse, business_date

)

select
    cell_id || '@' || cast(business_date as varchar) as stock_business_day_id,
    cell_id,
    shard,
    sku,
    warehouse,
    business_date,
    lead(business_date) over (partition by cell_id order by business_date) as next_date,
    first_happened_at,
    last_happened_at,
    cast(last_seq as bigint) as last_seq,
    cast(movements as bigint) as movements,
    {%- for bucket in buckets() %}
    cast({{ bucket }}_delta as bigint) as {{ bucket }}_delta,
    {%- endfor %}
    {%- for bucket in buckets() %}
    cast(
        coalesce(max({{ bucket }}_opening) over (partition by cell_id), 0)
        + sum({{ bucket }}_delta) over (
            partition by cell_id order by business_date rows between unbounded preceding and current row
        )
        as bigint
    ) as {{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from days
