{{ config(materialized='table') }}

-- The units that each supply will still bring. An ExpectSupply sets them, and an arrival that names the
-- supply reduces them.
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
    from {{ ref('stg_changes') }}
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
where newest = 1 and supply_quantity > 0
