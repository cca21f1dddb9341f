-- On the last day of the history every cell has one row, with its present balances.
with last_day as (

    select *
    from {{ ref('stock_daily') }}
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
