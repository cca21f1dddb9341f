{{ config(tags=['prove']) }}

-- Every movement counts on the one business day on which it happened, and on no other. For each cell and day,
-- the stored row equals the sum of the movements themselves.
with movements as (

    select
        cell_id || '@' || cast(business_date as varchar) as stock_business_day_id,
        count(*) as movements,
        max(seq) as last_seq,
        min(happened_at) as first_happened_at,
        max(happened_at) as last_happened_at,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('fct_stock_movements') }}
    group by cell_id || '@' || cast(business_date as varchar)

)

select coalesce(movements.stock_business_day_id, days.stock_business_day_id) as stock_business_day_id
from movements
full outer join {{ ref('int_stock_business_days') }} as days on movements.stock_business_day_id = days.stock_business_day_id
where
    movements.stock_business_day_id is null
    or days.stock_business_day_id is null
    or movements.movements <> days.movements
    or movements.last_seq <> days.last_seq
    or movements.first_happened_at <> days.first_happened_at
    or movements.last_happened_at <> days.last_happened_at
    {%- for bucket in buckets() %}
    or movements.{{ bucket }}_delta <> days.{{ bucket }}_delta
    {%- endfor %}
