{# The storefront for which the ledger reserves the units of a transfer over several shards. Nothing is sold
   there. #}
{% macro transfer_storefront() -%}
    'holdfast:transfer'
{%- endmacro %}
