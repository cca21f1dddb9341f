{# On DuckDB the schemas are `staging`, `intermediate` and `marts`, because one file is one warehouse.
   Elsewhere their names begin with the target's own schema, so that two people never build into the same
   tables. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- elif target.type == 'duckdb' -%}
        {{ custom_schema_name }}
    {%- else -%}
        {{ target.schema }}_{{ custom_schema_name }}
    {%- endif -%}
{%- endmacro %}
