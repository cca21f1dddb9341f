-- A cell is in an open stockout exactly when it has nothing sellable, and its stockouts follow one another.
with now_open as (

    select
        stock.cell_id,
        stock.sellable,
        count(stockouts.stockout_id) as open_stockouts
    from {{ ref('stock_current') }} as stock
    left join {{ ref('stockouts') }} as stockouts
        on stock.cell_id = stockouts.cell_id and stockouts.ended_at is null
    group by stock.cell_id, stock.sellable

),

in_order as (

    select
        cell_id,
        started_seq,
        lag(coalesce(ended_seq, started_seq)) over (partition by cell_id order by started_seq) as previous_seq,
        lag(case when ended_seq is null then 1 else 0 end) over (partition by cell_id order by started_seq) as previous_is_open
    from {{ ref('stockouts') }}
    where
        cell_id in (
            select cell_id
            from {{ after(ref('stockouts'), 'tested_through', 'last_seq') }} as new_stockouts
        )

)

select
    cell_id,
    'open stockouts do not match sellable stock' as problem
from now_open
where open_stockouts <> case when sellable = 0 then 1 else 0 end
union all
select
    cell_id,
    'stockouts overlap' as problem
from in_order
where previous_is_open = 1 or started_seq <= previous_seq
