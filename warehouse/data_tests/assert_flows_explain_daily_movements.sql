-- Every unit by which on_hand moved belongs to exactly one flow, so a new kind that moves goods needs a flow
-- of its own.
select *
from {{ after(ref('fct_daily_movements'), 'tested_through', 'last_seq') }} as new_rows
where
    on_hand_delta
    <> units_received - units_shipped + units_returned + units_adjusted + units_counted + units_transferred
    -- Units of a buyer's reservation that did not ship or return were taken, paid or given back.
    or (
        kind not in ('shipped', 'returned', 'transferred_out')
        and coalesce(storefront, '') <> {{ transfer_storefront() }}
        and reservation_units <> units_reserved + units_sold + units_given_back + units_cancelled
    )
