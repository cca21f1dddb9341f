{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='cell_supply_id',
    meta={'keep': 'quantity > 0'}
) }}

-- The units that each supply will still bring. An ExpectSupply sets them, and an arrival that names the
-- supply reduces them. A supply that will bring nothing more is selected too, so that its old row is deleted.
with told as (

    select
        sku,
        warehouse,
        shard,
        seq,
        log_time,
        supply_id,
        supply_quantity,
        supply_expected_at,
        row_number() over (partition by sku, warehouse, supply_id order by seq desc) as newest
    from {{ new_changes(ref('stg_changes'), last_seq='last_seq') }} as new_rows
    where supply_id is not null

)

select
    sku || '@' || warehouse || '/' || supply_id as cell_supply_id,
    sku || '@' || warehouse as cell_id,
    shard,
    sku,
    warehouse,
    supply_id,
    supply_quantity as quantity,
    supply_expected_at as expected_at,
    log_time as last_changed_at,
    seq as last_seq
from told
where newest = 1{{ ' and supply_quantity > 0' if not is_incremental() }}
