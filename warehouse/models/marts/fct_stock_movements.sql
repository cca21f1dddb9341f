{{ config(materialized='incremental', incremental_strategy='append') }}

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
from {{ new_changes(ref('stg_changes')) }} as new_rows
where
    {%- for bucket in buckets() %}
    {{ 'or ' if not loop.first }}{{ bucket }}_delta <> 0
    {%- endfor %}
