-- The value of a bucket after a change is the sum of all deltas so far, and never negative. If a change has
-- no value for a bucket, it did not move the bucket. Each storefront's pool is added up by itself.
with sums as (

    select
        change_id,
        {%- for bucket in buckets() %}
        {{ bucket }}_delta,
        {{ bucket }}_after,
        sum({{ bucket }}_delta) over (
            partition by cell_id{{ ', storefront' if bucket == 'pool' }} order by seq
            rows between unbounded preceding and current row
        ) as {{ bucket }}_sum{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('fct_stock_movements') }}

)

select *
from sums
where
    {%- for bucket in buckets() %}
    {{ 'or ' if not loop.first }}({{ bucket }}_after is not null and {{ bucket }}_after <> {{ bucket }}_sum)
    or ({{ bucket }}_after is null and {{ bucket }}_delta <> 0)
    or {{ bucket }}_after < 0
    {%- endfor %}
