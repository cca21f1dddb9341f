{# The shards of the ledger's stock, each with the last change that the list includes; empty while dbt parses. #}
{% macro listed() %}
    {%- set found = [] -%}
    {%- set stock = ref('stg_ledger_stock') -%}
    {%- if execute and load_relation(stock) is not none -%}
        {%- for row in run_query('select shard, max(change_seq) from ' ~ stock ~ ' group by shard order by shard').rows -%}
            {%- do found.append({'shard': row[0] | int, 'change_seq': row[1] | int}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{% endmacro %}

{# The rows of a relation that compare in a given way with the last change of the list, shard by shard. #}
{% macro beside_listed(relation, comparison) -%}
    (
        {%- for one in listed() %}
        select * from {{ relation }} where shard = {{ one.shard }} and seq {{ comparison }} {{ one.change_seq }} union all
        {%- endfor %}
        select * from {{ relation }} where false
    )
{%- endmacro %}
