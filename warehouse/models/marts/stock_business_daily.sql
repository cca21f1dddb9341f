{{ config(materialized='view') }}

-- The movements of every cell on every business day, and its balances at the end of that day, from its first
-- business day with a movement to the last one of the history. Only the days on which a cell moved are stored
-- (int_stock_business_days); the days between are filled in here.
select
    days.cell_id || '@' || cast(calendar.calendar_date as varchar) as stock_business_day_id,
    calendar.calendar_date as business_date,
    days.cell_id,
    days.shard,
    days.sku,
    days.warehouse,
    {%- for bucket in buckets() %}
    case when calendar.calendar_date = days.business_date then days.{{ bucket }}_delta else 0 end as {{ bucket }}_delta,
    {%- endfor %}
    {%- for bucket in buckets() %}
    days.{{ bucket }},
    {%- endfor %}
    days.free + days.pool as sellable,
    case when calendar.calendar_date = days.business_date then days.movements else 0 end as movements
from {{ ref('int_stock_business_days') }} as days
inner join {{ ref('int_business_calendar') }} as calendar
    on
        calendar.calendar_date >= days.business_date
        and (days.next_date is null or calendar.calendar_date < days.next_date)
