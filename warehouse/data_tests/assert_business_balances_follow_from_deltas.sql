-- The balances at the end of a business day are those of the day before and what moved on the day, including
-- what was booked later. The days of a cell follow one another, and each of them keeps the ledger's equation.
-- A bucket may be below zero on a past day: a late booking may date the departure of goods before their
-- arrival. Read are the cells that moved, from the day before the first one that changed.
with touched as (

    select
        cell_id,
        min(business_date) as first_date
    from {{ after(ref('int_stock_business_days'), 'tested_through', 'last_seq') }} as new_days
    group by cell_id

),

days as (

    select
        days.*,
        days.business_date >= touched.first_date as is_touched,
        lead(days.business_date) over (partition by days.cell_id order by days.business_date) as following_date,
        {%- for bucket in buckets() %}
        lag(days.{{ bucket }}) over (partition by days.cell_id order by days.business_date) as {{ bucket }}_before{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_stock_business_days') }} as days
    inner join touched on days.cell_id = touched.cell_id
    where days.next_date is null or days.next_date >= touched.first_date

)

select *
from days
where
    coalesce(next_date, business_date) <> coalesce(following_date, business_date)
    or on_hand <> {{ on_hand_by_equation() }}
    {%- for bucket in buckets() %}
    or (is_touched and {{ bucket }} <> coalesce({{ bucket }}_before, 0) + {{ bucket }}_delta)
    {%- endfor %}
