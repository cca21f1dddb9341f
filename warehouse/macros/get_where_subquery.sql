{# The rows of a model that a generic test reads: those that are new since every test passed. A model without a
   sequence number is small, and is read whole. #}
{% macro get_where_subquery(relation) -%}
    {%- set node = graph.nodes.get(model.get('attached_node')) if execute -%}
    {%- set columns = node.columns.keys() | list if node else [] -%}
    {%- set seq = ['last_seq', 'seq'] | select('in', columns) | list -%}
    {%- if 'shard' in columns and seq -%}
        {%- do return(after(relation, 'tested_through', seq[0]) ~ ' as new_rows') -%}
    {%- endif -%}
    {%- do return(relation) -%}
{%- endmacro %}
