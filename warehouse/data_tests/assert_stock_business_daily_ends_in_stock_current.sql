-- On the last business day of the history every cell appears once, with its present balances. The day is
-- looked up first: with a filter on a known day, the mart need not fill in all the others.
{% set calendar = ref('int_business_calendar') %}
{% set last_date = none %}
{% if execute and load_relation(calendar) is not none %}
    {% set last_date = run_query('select max(calendar_date) from ' ~ calendar).columns[0].values()[0] %}
{% endif %}
with last_day as (

    select *
    from {{ ref('stock_business_daily') }}
    where business_date = {{ "cast('" ~ last_date ~ "' as date)" if last_date else 'null' }}

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
