-- The balances at the end of a business day are the sum of all deltas up to that day, including those that
-- were booked later. The days of a cell follow one another, and each of them keeps the ledger's equation. A
-- bucket may be below zero on a past day: a late booking may date the departure of goods before their
-- arrival.
with days as (

    select
        *,
        lead(business_date) over (partition by cell_id order by business_date) as following_date,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) over (
            partition by cell_id order by business_date rows between unbounded preceding and current row
        ) as {{ bucket }}_sum{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_stock_business_days') }}

)

select *
from days
where
    coalesce(next_date, business_date) <> coalesce(following_date, business_date)
    or on_hand <> {{ on_hand_by_equation() }}
    {%- for bucket in buckets() %}
    or {{ bucket }} <> {{ bucket }}_sum
    {%- endfor %}
