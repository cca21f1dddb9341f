{{ config(materialized='table') }}

select
    sku || '@' || warehouse as cell_id,
    cast(shard as integer) as shard,
    cast(change_seq as bigint) as change_seq,
    cast(sku as varchar) as sku,
    cast(warehouse as varchar) as warehouse,
    {%- for bucket in buckets() %}
    cast({{ bucket }} as bigint) as {{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from {{ source('holdfast', 'ledger_stock') }}
