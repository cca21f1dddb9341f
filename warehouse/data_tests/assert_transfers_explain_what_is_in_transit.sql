-- The units in transit to each cell equal those that transfers have on the way there, and no transfer brought
-- more than it took.
with sent as (

    select
        sku || '@' || to_warehouse as cell_id,
        sum(in_transit) as in_transit
    from {{ ref('fct_transfers') }}
    where in_transit <> 0
    group by sku || '@' || to_warehouse

)

select
    coalesce(stock.cell_id, sent.cell_id) as cell_id,
    stock.in_transit as told,
    sent.in_transit as sent
from {{ ref('stock_current') }} as stock
full outer join sent on stock.cell_id = sent.cell_id
where coalesce(stock.in_transit, 0) <> coalesce(sent.in_transit, 0)
union all
select
    transfer_line_id as cell_id,
    in_transit as told,
    sent - received - written_off as sent
from {{ after(ref('fct_transfers'), 'tested_through', 'last_seq') }} as new_rows
where in_transit < 0 or in_transit <> sent - received - written_off
