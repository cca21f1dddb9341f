-- The units that the cells of a SKU hold for buyers equal those of its reservation lines, including undecided
-- orders. Two filters let a database skip all lines of which nothing is promised any more.
with stock as (

    select
        sku,
        sum(held) as held,
        sum(committed) as committed
    from {{ ref('stock_current') }}
    group by sku

),

reservations as (

    select
        sku,
        sum(held) as held,
        sum(committed) as committed
    from (
        select
            sku,
            held,
            0 as committed
        from {{ ref('int_reservation_lines') }}
        where held > 0
        union all
        select
            sku,
            0 as held,
            committed
        from {{ ref('int_reservation_lines') }}
        where committed > 0
    ) as promised
    group by sku

)

select
    coalesce(stock.sku, reservations.sku) as sku,
    stock.held as stock_held,
    reservations.held as reservations_held,
    stock.committed as stock_committed,
    reservations.committed as reservations_committed
from stock
full outer join reservations on stock.sku = reservations.sku
where
    coalesce(stock.held, 0) <> coalesce(reservations.held, 0)
    or coalesce(stock.committed, 0) <> coalesce(reservations.committed, 0)
