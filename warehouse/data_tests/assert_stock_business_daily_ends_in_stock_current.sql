-- The last row of every cell by business day has its present balances.
with last_day as (

    select *
    from {{ ref('int_stock_business_days') }}
    where next_date is null

)

select coalesce(stock.cell_id, last_day.cell_id) as cell_id
from {{ ref('stock_current') }} as stock
full outer join last_day on stock.cell_id = last_day.cell_id
where
    stock.cell_id is null
    or last_day.cell_id is null
    {%- for bucket in buckets() %}
    or stock.{{ bucket }} <> last_day.{{ bucket }}
    {%- endfor %}
union all
select cell_id
from last_day
group by cell_id
having count(*) > 1
