{# An incremental strategy: the rows of a model with a touched key are made again. It deletes them, and inserts
   what the model has selected. Two entries of the model's `meta` narrow it:

   touched_date   a date column that a key never changes. Only the days that were touched are searched.
   keep           a condition. Rows that do not meet it are only deleted. #}
{% macro get_incremental_touched_sql(arguments) %}
    {%- set columns = get_quoted_csv(arguments.dest_columns | map(attribute='name') | list) -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set statements -%}
    delete from {{ arguments.target_relation }}
    where
        {{ arguments.unique_key }} in (select {{ arguments.unique_key }} from {{ arguments.temp_relation }})
        {%- if meta.get('touched_date') %}
        and {{ is_touched_date(meta.touched_date, arguments.temp_relation) }}
        {%- endif %};
    insert into {{ arguments.target_relation }} ({{ columns }})
    select {{ columns }}
    from {{ arguments.temp_relation }}
    {%- if meta.get('keep') %}
    where {{ meta.keep }}
    {%- endif %}
    {%- endset -%}
    {%- if target.type == 'snowflake' -%}
        {%- do return(snowflake_dml_explicit_transaction(statements)) -%}
    {%- endif -%}
    {%- do return(statements) -%}
{% endmacro %}

{# A condition on a date column, with the dates of another relation as literals. So a database skips the parts of
   a table without those dates. With many dates, it is the span from the first to the last. #}
{% macro is_touched_date(column, relation) -%}
    {%- set dates = [] -%}
    {%- if execute -%}
        {%- for row in run_query('select distinct ' ~ column ~ ' from ' ~ relation ~ ' as touched order by ' ~ column).rows -%}
            {%- do dates.append("cast('" ~ row[0] ~ "' as date)") -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if not dates -%}
    false
    {%- elif dates | length <= 50 -%}
    {{ column }} in ({{ dates | join(', ') }})
    {%- else -%}
    {{ column }} between {{ dates[0] }} and {{ dates[-1] }}
    {%- endif -%}
{%- endmacro %}
