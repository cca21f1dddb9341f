{{ config(tags=['prove']) }}

-- Over all time, a cell has as many movements by business day as by log day, and the same sum in each bucket.
with log_days as (

    select
        cell_id,
        sum(movements) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_stock_days') }}
    group by cell_id

),

business_days as (

    select
        cell_id,
        sum(movements) as movements,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_stock_business_days') }}
    group by cell_id

)

select coalesce(log_days.cell_id, business_days.cell_id) as cell_id
from log_days
full outer join business_days on log_days.cell_id = business_days.cell_id
where
    log_days.cell_id is null
    or business_days.cell_id is null
    or log_days.movements <> business_days.movements
    {%- for bucket in buckets() %}
    or log_days.{{ bucket }}_delta <> business_days.{{ bucket }}_delta
    {%- endfor %}
