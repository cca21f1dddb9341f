-- The value of a bucket after a change is the sum of all deltas so far, and never negative. If a change has
-- no value for a bucket, it did not move the bucket. Each storefront's pool is added up by itself. The sum
-- begins with the balance before the new changes, which is the present one without them. It is zero for a
-- cell that had no movement before.
with sums as (

    select
        movements.change_id,
        movements.cell_id,
        movements.storefront,
        {%- for bucket in buckets() %}
        movements.{{ bucket }}_delta,
        movements.{{ bucket }}_after,
        sum(movements.{{ bucket }}_delta) over (
            partition by movements.cell_id{{ ', movements.storefront' if bucket == 'pool' }} order by movements.seq desc
            rows between unbounded preceding and current row
        ) - movements.{{ bucket }}_delta as {{ bucket }}_later,
        {%- endfor %}
        count(*) over (partition by movements.cell_id) as new_movements,
        row_number() over (partition by movements.cell_id order by movements.seq) as place
    from {{ after(ref('fct_stock_movements'), 'tested_through') }} as movements

),

balances as (

    select
        sums.change_id,
        sums.place = 1 and sums.new_movements = stock.movements as is_first,
        {%- for bucket in buckets() %}
        sums.{{ bucket }}_delta,
        sums.{{ bucket }}_after,
        {{ 'pools.pool' if bucket == 'pool' else 'stock.' ~ bucket }} - sums.{{ bucket }}_later as {{ bucket }}_sum{{ ',' if not loop.last }}
        {%- endfor %}
    from sums
    left join {{ ref('stock_current') }} as stock on sums.cell_id = stock.cell_id
    left join {{ ref('int_pools') }} as pools
        on sums.cell_id = pools.cell_id and sums.storefront is not distinct from pools.storefront

)

select *
from balances
where
    is_first is null
    {%- for bucket in buckets() %}
    or ({{ bucket }}_after is not null and {{ bucket }}_after <> coalesce({{ bucket }}_sum, 0))
    or ({{ bucket }}_after is null and {{ bucket }}_delta <> 0)
    or {{ bucket }}_after < 0
    or (is_first and coalesce({{ bucket }}_sum, 0) <> {{ bucket }}_delta)
    {%- endfor %}
