{{ config(materialized='view') }}

-- The closing balances of every cell on every UTC day from its first movement to the last day of the history.
-- Only the days on which a cell moved are stored (int_stock_days); the days between are filled in here.
select
    days.cell_id || '@' || cast(calendar.calendar_date as varchar) as stock_day_id,
    calendar.calendar_date as stock_date,
    days.cell_id,
    days.shard,
    days.sku,
    days.warehouse,
    {%- for bucket in buckets() %}
    days.{{ bucket }},
    {%- endfor %}
    days.free + days.pool as sellable,
    case when calendar.calendar_date = days.stock_date then days.movements else 0 end as movements
from {{ ref('int_stock_days') }} as days
inner join {{ ref('int_calendar') }} as calendar
    on
        calendar.calendar_date >= days.stock_date
        and (days.next_date is null or calendar.calendar_date < days.next_date)
