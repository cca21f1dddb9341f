{# The storefront for which the ledger itself reserves what a transfer over several shards will take. Nothing
   is sold there. #}
{% macro transfer_storefront() -%}
    'holdfast:transfer'
{%- endmacro %}
