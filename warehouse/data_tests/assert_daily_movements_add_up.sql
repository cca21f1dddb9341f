{{ config(tags=['prove']) }}

-- Each business day, cell, storefront and kind has the movements that happened then.
with movements as (

    select
        business_date,
        cell_id,
        coalesce(storefront, '') as storefront,
        kind,
        count(*) as changes,
        max(seq) as last_seq,
        sum(on_hand_delta) as on_hand_delta,
        sum(sellable_delta) as sellable_delta,
        sum(coalesce(quantity, 0)) as reservation_units
    from {{ ref('fct_stock_movements') }}
    group by business_date, cell_id, coalesce(storefront, ''), kind

),

days as (

    select *
    from {{ ref('fct_daily_movements') }}

)

select
    days.daily_movement_id,
    movements.changes,
    days.changes as days_changes
from movements
full outer join days
    on
        movements.business_date = days.business_date
        and movements.cell_id = days.cell_id
        and movements.storefront = coalesce(days.storefront, '')
        and movements.kind = days.kind
where
    movements.kind is null
    or days.kind is null
    or movements.changes <> days.changes
    or movements.last_seq <> days.last_seq
    or movements.on_hand_delta <> days.on_hand_delta
    or movements.sellable_delta <> days.sellable_delta
    or movements.reservation_units <> days.reservation_units
