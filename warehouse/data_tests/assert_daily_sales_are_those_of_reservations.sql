{{ config(tags=['prove']) }}

-- For each SKU, the sales over all business days equal the units that reservation lines ever committed.
with sold as (

    select
        sku,
        sum(units_sold) as units
    from {{ ref('fct_daily_movements') }}
    group by sku

),

committed as (

    select
        sku,
        sum(committed + shipped + cancelled) as units
    from {{ ref('int_reservation_lines') }}
    where storefront <> {{ transfer_storefront() }}
    group by sku

)

select
    coalesce(sold.sku, committed.sku) as sku,
    sold.units as sold,
    committed.units as committed
from sold
full outer join committed on sold.sku = committed.sku
where coalesce(sold.units, 0) <> coalesce(committed.units, 0)
