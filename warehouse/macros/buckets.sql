{# The buckets of a cell, in the order of the archive's columns. #}
{% macro buckets() %}
    {{ return(['on_hand', 'free', 'pool', 'safety', 'held', 'committed', 'damaged', 'quality_hold', 'deficit']) }}
{% endmacro %}

{# What the ledger's equation says on_hand is, over columns with this suffix. #}
{% macro on_hand_by_equation(suffix='') -%}
    free{{ suffix }} + pool{{ suffix }} + safety{{ suffix }} + held{{ suffix }} + committed{{ suffix }}
        + damaged{{ suffix }} + quality_hold{{ suffix }} - deficit{{ suffix }}
{%- endmacro %}
