{# Every day from the first to the last in a column of `relation`, at most 100,000 days (273 years). #}
{% macro days_between(relation, column) -%}
with digits as (

    {%- for digit in range(10) %}
    select {{ digit }} as digit{{ ' union all' if not loop.last }}
    {%- endfor %}

),

numbers as (

    select d1.digit + 10 * d2.digit + 100 * d3.digit + 1000 * d4.digit + 10000 * d5.digit as number
    from digits as d1
    cross join digits as d2
    cross join digits as d3
    cross join digits as d4
    cross join digits as d5

),

span as (

    select
        min({{ column }}) as first_date,
        max({{ column }}) as last_date
    from {{ relation }}

)

select cast({{ dbt.dateadd('day', 'numbers.number', 'span.first_date') }} as date) as calendar_date
from numbers
inner join span on numbers.number <= {{ dbt.datediff('span.first_date', 'span.last_date', 'day') }}
{%- endmacro %}
