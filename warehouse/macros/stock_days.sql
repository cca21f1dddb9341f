{# The days on which each cell moved: what moved on a day, and the balances at its end. They hold until
   next_date. The columns `movement_date` and `moved_at` of fct_stock_movements say on which day and when a
   movement counts. A movement may be booked for a day long past. Then every later day of its cell, and the day
   before it, is made again. Earlier days stay as they are, so the newest movements of a cell change only its
   newest row.

   The other arguments name columns of the result: the key, the day, and the times of the day's first and last
   movement. #}
{% macro stock_days(movement_date, moved_at, id, date, first_moved_at, last_moved_at) -%}
with new_days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        {{ movement_date }} as {{ date }},
        min({{ moved_at }}) as {{ first_moved_at }},
        max({{ moved_at }}) as {{ last_moved_at }},
        max(seq) as last_seq,
        count(*) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_rows
    group by cell_id, shard, sku, warehouse, {{ movement_date }}

),
{%- if is_incremental() %}

first_new_days as (

    select
        cell_id,
        min({{ date }}) as {{ date }}
    from new_days
    group by cell_id

),

-- The rows begin at the last day before the first new one, or at the cell's first day. The first row gives
-- the opening balances.
old_days as (

    select
        old.*,
        row_number() over (partition by old.cell_id order by old.{{ date }}) as day_number
    from {{ this }} as old
    inner join first_new_days on old.cell_id = first_new_days.cell_id
    where old.next_date is null or old.next_date > first_new_days.{{ date }}

),
{%- endif %}

pieces as (

    select
        new_days.*,
        {%- for bucket in buckets() %}
        cast(null as bigint) as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from new_days
    {%- if is_incremental() %}
    union all
    select
        cell_id,
        shard,
        sku,
        warehouse,
        {{ date }},
        {{ first_moved_at }},
        {{ last_moved_at }},
        last_seq,
        movements,
        {%- for bucket in buckets() %}
        {{ bucket }}_delta,
        {%- endfor %}
        {%- for bucket in buckets() %}
        case when day_number = 1 then {{ bucket }} - {{ bucket }}_delta end as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from old_days
    {%- endif %}

),

days as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        {{ date }},
        min({{ first_moved_at }}) as {{ first_moved_at }},
        max({{ last_moved_at }}) as {{ last_moved_at }},
        max(last_seq) as last_seq,
        sum(movements) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta,
        max({{ bucket }}_opening) as {{ bucket }}_opening{{ ',' if not loop.last }}
        {%- endfor %}
    from pieces
    group by cell_id, shard, sku, warehouse, {{ date }}

)

select
    cell_id || '@' || cast({{ date }} as varchar) as {{ id }},
    cell_id,
    shard,
    sku,
    warehouse,
    {{ date }},
    lead({{ date }}) over (partition by cell_id order by {{ date }}) as next_date,
    {{ first_moved_at }},
    {{ last_moved_at }},
    cast(last_seq as bigint) as last_seq,
    cast(movements as bigint) as movements,
    {%- for bucket in buckets() %}
    cast({{ bucket }}_delta as bigint) as {{ bucket }}_delta,
    {%- endfor %}
    {%- for bucket in buckets() %}
    cast(
        coalesce(max({{ bucket }}_opening) over (partition by cell_id), 0)
        + sum({{ bucket }}_delta) over (
            partition by cell_id order by {{ date }} rows between unbounded preceding and current row
        )
        as bigint
    ) as {{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from days
{%- endmacro %}

{# Every day of every cell, from its first day with a movement to the last day of `calendar`. `days` has the
   days on which the cells moved, and the days between are filled in. `id` and `date` name the key and the day,
   in `days` and in the result. `deltas` adds what each bucket moved on the day. #}
{% macro every_stock_day(days, calendar, id, date, deltas=false) -%}
select
    days.cell_id || '@' || cast(calendar.calendar_date as varchar) as {{ id }},
    calendar.calendar_date as {{ date }},
    days.cell_id,
    days.shard,
    days.sku,
    days.warehouse,
    {%- if deltas %}
    {%- for bucket in buckets() %}
    case when calendar.calendar_date = days.{{ date }} then days.{{ bucket }}_delta else 0 end as {{ bucket }}_delta,
    {%- endfor %}
    {%- endif %}
    {%- for bucket in buckets() %}
    days.{{ bucket }},
    {%- endfor %}
    days.free + days.pool as sellable,
    case when calendar.calendar_date = days.{{ date }} then days.movements else 0 end as movements
from {{ days }} as days
inner join {{ calendar }} as calendar
    on
        calendar.calendar_date >= days.{{ date }}
        and (days.next_date is null or calendar.calendar_date < days.next_date)
{%- endmacro %}
