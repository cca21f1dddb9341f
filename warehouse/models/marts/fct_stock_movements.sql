{{ config(materialized='view') }}

-- One row per change that moved stock.
select
    change_id,
    shard,
    seq,
    log_index,
    log_time,
    log_date,
    occurred_at,
    happened_at,
    business_date,
    kind,
    sku || '@' || warehouse as cell_id,
    sku,
    warehouse,
    storefront,
    {%- for bucket in buckets() %}
    {{ bucket }}_delta,
    {{ bucket }}_after,
    {%- endfor %}
    free_delta + pool_delta as sellable_delta,
    reservation_id,
    line,
    quantity,
    operation_id,
    principal,
    reason,
    reference,
    sourcing,
    transfer_id
from {{ ref('stg_changes') }}
where moves_stock
