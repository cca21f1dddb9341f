{{ config(materialized='incremental', incremental_strategy='touched', unique_key='cell_id') }}

-- Every cell as it stands after the last loaded change. What moved is added to the balances of before.
with pieces as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        {%- for bucket in buckets() %}
        {{ bucket }}_delta as {{ bucket }},
        {%- endfor %}
        1 as movements,
        log_time as first_moved_at,
        log_time as last_moved_at,
        seq as last_seq
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_rows
    {%- if is_incremental() %}
    union all
    select
        cell_id,
        shard,
        sku,
        warehouse,
        {%- for bucket in buckets() %}
        {{ bucket }},
        {%- endfor %}
        movements,
        first_moved_at,
        last_moved_at,
        last_seq
    from {{ this }}
    where cell_id in (select cell_id from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as touched)
    {%- endif %}

)

select
    cell_id,
    shard,
    sku,
    warehouse,
    {%- for bucket in buckets() %}
    cast(sum({{ bucket }}) as bigint) as {{ bucket }},
    {%- endfor %}
    cast(sum(free) + sum(pool) as bigint) as sellable,
    cast(sum(movements) as bigint) as movements,
    min(first_moved_at) as first_moved_at,
    max(last_moved_at) as last_moved_at,
    cast(max(last_seq) as bigint) as last_seq
from pieces
group by cell_id, shard, sku, warehouse
