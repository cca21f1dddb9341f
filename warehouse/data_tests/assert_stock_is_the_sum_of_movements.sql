{{ config(tags=['prove']) }}

-- The balances of each cell, and the pool of each storefront, are the sums of all movements ever. They are
-- made by adding what is new, and this adds up everything again.
with movements as (

    select
        cell_id,
        count(*) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('fct_stock_movements') }}
    group by cell_id

),

pools as (

    select
        cell_id,
        sum(pool) as pool
    from {{ ref('int_pools') }}
    group by cell_id

)

select coalesce(movements.cell_id, stock.cell_id) as cell_id
from movements
full outer join {{ ref('stock_current') }} as stock on movements.cell_id = stock.cell_id
left join pools on movements.cell_id = pools.cell_id
where
    movements.cell_id is null
    or stock.cell_id is null
    or movements.movements <> stock.movements
    or movements.pool <> coalesce(pools.pool, 0)
    {%- for bucket in buckets() %}
    or movements.{{ bucket }} <> stock.{{ bucket }}
    {%- endfor %}
