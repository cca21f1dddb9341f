-- Each business day, cell, storefront and kind has the movements that happened then. Every unit by which
-- on_hand moved belongs to exactly one flow, so a new kind that moves goods needs a flow of its own.
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

    select
        daily.*,
        units_received - units_shipped + units_returned + units_adjusted + units_counted + units_transferred as units_by_flow,
        units_reserved + units_sold + units_given_back + units_cancelled as units_of_reservations
    from {{ ref('fct_daily_movements') }} as daily

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
    or days.on_hand_delta <> days.units_by_flow
    -- Units of a buyer's reservation that did not ship or return were taken, paid or given back.
    or (
        days.kind not in ('shipped', 'returned', 'transferred_out')
        and coalesce(days.storefront, '') <> {{ transfer_storefront() }}
        and days.reservation_units <> days.units_of_reservations
    )
