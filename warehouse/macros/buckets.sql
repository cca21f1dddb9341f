{# The buckets of a cell, in the order of the ledger's contract. #}
{% macro buckets() %}
    {{ return(['on_hand', 'free', 'pool', 'safety', 'held', 'committed', 'damaged', 'quality_hold', 'deficit',
        'backordered', 'in_transit']) }}
{% endmacro %}

{# The value of on_hand by the ledger's equation, over columns with this suffix. #}
{% macro on_hand_by_equation(suffix='') -%}
    free{{ suffix }} + pool{{ suffix }} + safety{{ suffix }} + held{{ suffix }} + committed{{ suffix }}
        + damaged{{ suffix }} + quality_hold{{ suffix }} - deficit{{ suffix }} - backordered{{ suffix }}
{%- endmacro %}
